//! The units of a closure, as systemd takes them: through links, as it would take them in `/etc`.

use anyhow::Result;
use lastgood_tests::container::Boot;
use lastgood_tests::debian::Debian;
use lastgood_tests::files;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use super::proven;

on_each_debian! {
    units_through_links_are_what_they_would_be_in_etc,
}

const SLEEPS: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

fn units_through_links_are_what_they_would_be_in_etc(debian: Debian) -> Result<()> {
    in_container("container-unit-files", debian, |server| {
        let drop_in = "[Service]\nEnvironment=RIG=over\n";
        let subject = proven(
            server,
            1,
            &[
                ("etc/systemd/system/nginx.service.d/over.conf", drop_in),
                ("etc/systemd/system/worker@.service", SLEEPS),
                ("units/other.service", SLEEPS),
            ],
        )?;
        let units = subject.toplevel.join("etc/systemd/system");
        let elsewhere = subject.toplevel.join("units/other.service");
        for (name, leads) in [
            (
                "multi-user.target.wants/worker@one.service",
                "../worker@.service".as_ref(),
            ),
            ("second.service", "nginx.service".as_ref()),
            ("host.service", "/dev/null".as_ref()),
            ("own.service", elsewhere.as_path()),
        ] {
            files::link(leads, &server.disk().join(units.join(name)))?;
        }
        server.write("/etc/systemd/system/host.service", SLEEPS)?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        for (unit, property, expected) in [
            ("nginx.service", "Environment", "RIG=over"),
            ("worker@one.service", "ActiveState", "active"),
            ("second.service", "Id", "nginx.service"),
            ("host.service", "LoadState", "masked"),
            // A link to a file of another name is a unit of its own.
            ("own.service", "Names", "own.service"),
            ("own.service", "LoadState", "loaded"),
        ] {
            let found = server.property(unit, property)?;
            assert_eq!(found, expected, "{property} of {unit}");
        }
        server.power_off()
    })
}
