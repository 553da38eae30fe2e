use super::Effect::{Nothing, Reload, Restart};
use super::*;

const SERVICE: &str = "[Service]\nExecStart=/a\n";

const ROWS: [(&str, &str, Effect); 45] = [
    ("", "", Nothing),
    (SERVICE, SERVICE, Nothing),
    // A section without a key.
    ("[Unit]\n", "", Nothing),
    ("", "[Unit]\n", Nothing),
    ("", "[Install]\n", Nothing),
    ("[X-Own]\n", "", Restart),
    ("", "[X-Own]\n", Restart),
    // Sections that come, go, or get another name.
    ("", "[X-Own]\nA=1\n", Restart),
    ("[X-Own]\nA=1\n", "", Restart),
    ("[X-Own]\nA=1\n", "[X-Other]\nA=1\n", Restart),
    ("", "[Unit]\nDescription=a\n", Nothing),
    ("[Unit]\nDescription=a\n", "", Nothing),
    ("", "[Unit]\nAfter=a\n", Restart),
    ("[Unit]\nAfter=a\n", "", Restart),
    ("", SERVICE, Restart),
    (
        "[Unit]\nDescription=x\n",
        "[Unit]\nDescription=x\n[Service]\nExecStart=y\n",
        Restart,
    ),
    (
        "[Unit]\nDescription=x\n",
        "[Unit]\nDescription=x\n[Service]\nExecReload=y\n",
        Reload,
    ),
    // Keys.
    (
        "[Service]\nExecStart=/a\n",
        "[Service]\nExecStart=/b\n",
        Restart,
    ),
    (
        "[Service]\nExecStart=/a\n",
        "[Service]\nExecStart=/a\nNice=1\n",
        Restart,
    ),
    ("[Service]\nNice=1\nExecStart=/a\n", SERVICE, Restart),
    (
        "[Service]\nExecStart=/a\nNice=1\n",
        "[Service]\nExecStart=/a\nIOClass=1\n",
        Restart,
    ),
    (
        "[Service]\nExecStart=/a\nExecStart=/b\n",
        "[Service]\nExecStart=/b\nExecStart=/a\n",
        Restart,
    ),
    (
        "[Unit]\nX-Restart-Triggers=1\n",
        "[Unit]\nX-Restart-Triggers=2\n",
        Restart,
    ),
    // An empty value is none.
    ("[Service]\nExecStart=/a\nNice=\n", SERVICE, Nothing),
    // Reload triggers.
    ("", "[Unit]\nX-Reload-Triggers=1\n", Reload),
    (
        "[Unit]\nX-Reload-Triggers=1\n",
        "[Unit]\nX-Reload-Triggers=2\n",
        Reload,
    ),
    ("[Unit]\nX-Reload-Triggers=1\n", "", Nothing),
    (
        "[Unit]\nX-Reload-Triggers=1\nDescription=x\n",
        "[Unit]\nDescription=x\n",
        Nothing,
    ),
    (
        "[Unit]\nX-Reload-Triggers=1\nAfter=a\n",
        "[Unit]\nX-Reload-Triggers=2\nAfter=b\n",
        Restart,
    ),
    // ExecReload.
    ("", "[Service]\nExecReload=a\n", Reload),
    (
        "[Service]\nExecReload=a\n",
        "[Service]\nExecReload=b\n",
        Reload,
    ),
    ("[Service]\nExecReload=a\n", "", Nothing),
    ("[Service]\nExecStart=/a\nExecReload=a\n", SERVICE, Nothing),
    (SERVICE, "[Service]\nExecStart=/a\nExecReload=a\n", Reload),
    (
        SERVICE,
        "[Service]\nExecStart=/a\nExecReload=a\nNice=1\n",
        Restart,
    ),
    (
        "[Service]\nExecStart=/a\nExecReload=a\n",
        "[Service]\nExecStart=/b\n",
        Restart,
    ),
    // Mounts.
    ("[Mount]\nOptions=\n", "[Mount]\nOptions=ro\n", Reload),
    (
        "[Mount]\nWhat=a\nOptions=rw\n",
        "[Mount]\nWhat=a\nOptions=ro\n",
        Reload,
    ),
    ("[Mount]\nWhat=a\nOptions=rw\n", "[Mount]\nWhat=a\n", Reload),
    (
        "[Mount]\nWhat=a\nOptions=rw\n",
        "[Mount]\nWhat=b\nOptions=ro\n",
        Restart,
    ),
    ("[Mount]\nType=a\n", "[Mount]\nType=b\n", Restart),
    // What enables it.
    (
        "[Install]\nWantedBy=a\n",
        "[Install]\nWantedBy=b\nAlias=c\n",
        Nothing,
    ),
    ("[Install]\nWantedBy=a\n", "", Nothing),
    // The same keys elsewhere weigh.
    (
        "[Service]\nDescription=a\n",
        "[Service]\nDescription=b\n",
        Restart,
    ),
    ("[Unit]\nOptions=a\n", "[Unit]\nOptions=b\n", Restart),
];

fn effect(old: &str, new: &str) -> Effect {
    compare(&UnitFile::parse(old), &UnitFile::parse(new)).effect
}

#[test]
fn each_difference_has_its_effect() {
    for (old, new, is) in ROWS {
        assert_eq!(effect(old, new), is, "from {old:?} to {new:?}");
    }
    for key in UNNOTICED {
        let (a, b) = (format!("[Unit]\n{key}=a\n"), format!("[Unit]\n{key}=b\n"));
        for (old, new) in [(&a, &b), (&a, &String::new()), (&String::new(), &b)] {
            assert_eq!(effect(old, new), Nothing, "{key}");
        }
    }
}

#[test]
fn the_reason_names_what_decides() {
    let why = |old: &str, new: &str| compare(&UnitFile::parse(old), &UnitFile::parse(new)).why();
    assert_eq!(
        why(
            "[Unit]\nX-Reload-Triggers=1\n[Service]\nExecStart=a\n",
            "[Unit]\nX-Reload-Triggers=2\n[Service]\nExecStart=b\n"
        ),
        "[Service] ExecStart= changed"
    );
    assert_eq!(
        why("[Service]\nA=1\nB=1\nC=1\n", "[Service]\nA=2\nB=2\nC=2\n"),
        "[Service] A= and 2 more changed"
    );
    assert_eq!(why("[X]\n", ""), "[X] changed");
}

#[test]
fn both_ways_weigh_alike_but_for_what_can_be_reloaded() {
    let texts = [
        "",
        "[Service]\nExecStart=a\n",
        "[Service]\nExecStart=b\n[Unit]\nAfter=c\n",
        "[Mount]\nOptions=ro\n",
    ];
    for old in texts {
        for new in texts {
            assert_eq!(effect(old, new), effect(new, old), "{old:?} and {new:?}");
        }
    }
}
