//! Sockets and their services.

use super::*;

const A: &str = "[Service]\nExecStart=/a\n";
const B: &str = "[Service]\nExecStart=/b\n";
const S: &str = "[Socket]\nListenStream=1\n";
const OTHER: &str = "[Socket]\nListenStream=2\n";

/// A socket and its service, both running.
fn pair(socket: (&str, &str), service: (&str, &str)) -> Situation {
    let mut situation = given(&[
        ("x.socket", socket.0, socket.1),
        ("x.service", service.0, service.1),
    ]);
    triggers(&mut situation, "x.socket", "x.service");
    situation
}

const ALL: [&str; 3] = ["stop x.service", "stop x.socket", "start x.socket"];

#[test]
fn a_changed_service_takes_its_socket_with_it_and_is_left_to_it() {
    let plan = plan(&pair((S, S), (A, B)));
    assert_eq!(deeds(&plan), ALL);
    assert_eq!(
        intents(&plan),
        [("x.service", Intent::Either), ("x.socket", Intent::Up)]
    );
    let opts_out = format!("{B}X-NotSocketActivated=true\n");
    assert_eq!(
        deeds(&super::plan(&pair((S, S), (A, &opts_out)))),
        [&ALL[..], &["start x.service"]].concat()
    );
    // It is wanted besides.
    let mut situation = pair((S, S), (A, B));
    situation
        .states
        .insert("multi-user.target".to_owned(), up());
    wanted(&mut situation, "multi-user.target", "x.service");
    assert_eq!(
        deeds(&super::plan(&situation)),
        [&ALL[..], &["start x.service"]].concat()
    );
    // A restart in one job needs no socket.
    let stays = |text: &str| format!("{text}X-StopIfChanged=false\n");
    let plan = super::plan(&pair((S, S), (&stays(A), &stays(B))));
    assert_eq!(deeds(&plan), ["restart x.service"]);
    // The socket is gone, so nothing else starts the service.
    let plan = super::plan(&pair((S, "-"), (A, B)));
    assert_eq!(
        deeds(&plan),
        ["stop x.service", "stop x.socket", "start x.service"]
    );
}

#[test]
fn a_socket_with_other_addresses_goes_down_with_its_service_before_the_reload() {
    let plan = plan(&pair((S, OTHER), (A, A)));
    assert_eq!(deeds(&plan), ALL);
    assert_eq!(
        intents(&plan),
        [("x.service", Intent::Either), ("x.socket", Intent::Up)]
    );
    let more = format!("{S}ListenDatagram=3\n");
    assert_eq!(deeds(&super::plan(&pair((S, &more), (A, A)))), ALL);
    // Nobody has connected yet.
    let mut situation = pair((S, OTHER), (A, A));
    state(&mut situation, "x.service").active = Active::Inactive;
    assert_eq!(
        deeds(&super::plan(&situation)),
        ["stop x.socket", "start x.socket"]
    );
    // A service that is wanted comes up.
    let mut situation = pair((S, OTHER), (A, A));
    situation
        .states
        .insert("multi-user.target".to_owned(), up());
    wanted(&mut situation, "multi-user.target", "x.service");
    let steps = super::plan(&situation).up;
    let order: Vec<&str> = steps.iter().map(|step| step.unit.as_str()).collect();
    assert_eq!(order, ["x.socket", "x.service"], "the socket first");
    // An instance for each connection has a descriptor of its own.
    let accept = |text: &str| format!("{text}Accept=yes\n");
    let mut situation = given(&[
        ("x.socket", &accept(S), &accept(OTHER)),
        ("x@.service", A, A),
    ]);
    runs_as(&mut situation, "x@1.service");
    triggers(&mut situation, "x.socket", "x@1.service");
    assert_eq!(
        deeds(&super::plan(&situation)),
        ["stop x.socket", "start x.socket"]
    );
}

#[test]
fn a_service_that_must_not_be_stopped_keeps_its_socket() {
    for says in [
        "X-RestartIfChanged=false\n",
        "X-ReloadIfChanged=true\n",
        "[Unit]\nRefuseManualStop=true\n",
    ] {
        let service = format!("{A}{says}");
        let plan = plan(&pair((S, OTHER), (&service, &service)));
        assert_eq!(deeds(&plan), ["NOT restart x.socket"], "{says}");
        assert!(plan.skipped["x.socket"].contains("x.service says"));
    }
    let mut situation = pair((S, OTHER), (A, A));
    state(&mut situation, "x.service").refuses_stop = true;
    assert_eq!(deeds(&plan(&situation)), ["NOT restart x.socket"]);
    let mut situation = pair((S, OTHER), (A, A));
    state(&mut situation, "x.socket").refuses_stop = true;
    assert_eq!(deeds(&plan(&situation)), ["NOT restart x.socket"]);
}

#[test]
fn other_settings_of_a_socket_wait_for_its_service() {
    let mode = format!("{S}SocketMode=0600\n");
    let plan = plan(&pair((S, &mode), (A, A)));
    assert_eq!(
        lines(&plan),
        [
            "NOT restart x.socket: [Socket] SocketMode= changed: it keeps its old settings while x.service runs"
        ]
    );
    let mut situation = pair((S, &mode), (A, A));
    state(&mut situation, "x.service").active = Active::Inactive;
    assert_eq!(deeds(&super::plan(&situation)), ["restart x.socket"]);
    assert_eq!(deeds(&super::plan(&pair((S, &mode), (A, B)))), ALL);
    // What PID 1 takes for nothing.
    let described = format!("[Unit]\nDescription=x\n{S}");
    assert_eq!(deeds(&super::plan(&pair((S, &described), (A, A)))), [""; 0]);
}

#[test]
fn a_service_makes_way_for_a_socket_that_is_new() {
    let new = |service: (&str, &str), named: &str| {
        let socket = format!("{S}{named}");
        let mut situation = given(&[
            ("x.socket", "-", &socket),
            ("x.service", service.0, service.1),
            ("y.service", service.0, service.1),
            ("sockets.target", "[Unit]\n", "[Unit]\n"),
        ]);
        situation.new.wanted.insert(
            "sockets.target".to_owned(),
            BTreeSet::from(["x.socket".to_owned()]),
        );
        deeds(&plan(&situation))
    };
    assert_eq!(new((A, A), ""), ["stop x.service", "start x.socket"]);
    assert_eq!(
        new((A, A), "Service=y.service\n"),
        ["stop y.service", "start x.socket"]
    );
    assert_eq!(new((A, A), "Accept=yes\n"), ["start x.socket"]);
    let no = format!("{A}X-RestartIfChanged=false\n");
    assert_eq!(new((&no, &no), ""), ["NOT restart x.socket"]);
    // It changes besides: it is left to the socket.
    assert_eq!(
        new((A, B), ""),
        [
            "stop x.service",
            "stop y.service",
            "start x.socket",
            "start y.service"
        ]
    );
    // A restart in one job would leave no room for the socket.
    let (old, new_text) = (
        format!("{A}X-StopIfChanged=false\n"),
        format!("{B}X-StopIfChanged=false\n"),
    );
    assert_eq!(
        new((&old, &new_text), ""),
        ["stop x.service", "start x.socket", "restart y.service"]
    );
}

#[test]
fn a_reload_trigger_reloads_the_service_and_leaves_its_socket() {
    let text = |number: u8| format!("{A}ExecReload=/r\n[Unit]\nX-Reload-Triggers={number}\n");
    let plan = plan(&pair((S, S), (&text(1), &text(2))));
    assert_eq!(deeds(&plan), ["reload x.service"]);
}

#[test]
fn sockets_are_asked_for_before_what_pulls_in_their_services() {
    let wants = "[Unit]\nWants=a.service t.target\n";
    let plan = plan(&given(&[
        ("multi-user.target", "[Unit]\n", wants),
        (
            "a.service",
            "-",
            "[Unit]\nRequires=x.service\n[Service]\nExecStart=/a\n",
        ),
        ("t.target", "-", "[Unit]\nWants=z.socket\n"),
        ("x.service", "-", A),
        ("z.socket", "-", &format!("{S}Service=x.service\n")),
    ]));
    let order: Vec<&str> = plan.up.iter().map(|step| step.unit.as_str()).collect();
    assert_eq!(order, ["z.socket", "x.service", "a.service", "t.target"]);
}
