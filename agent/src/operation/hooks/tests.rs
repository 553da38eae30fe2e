use super::*;
use crate::state::cause::Stage;
use boot_entries::GenerationId;

fn call() -> Call {
    Call {
        hook: Hook::OnFallback,
        incident: "on-fallback-0123 abcd/é".to_owned(),
        subject: Subject {
            generation: GenerationId::system(1),
            toplevel: "/nix/store/1".into(),
        },
        cause: Some(Cause {
            units: vec![UnitFailure {
                unit: "a.service".to_owned(),
                result: "exit-code".to_owned(),
                exit_status: Some(1),
                log: vec!["password=hunter2".to_owned()],
            }],
            ..Cause::of(Stage::Services, Fault::of_unit("a.service"))
        }),
    }
}

#[test]
fn the_unit_is_called_after_the_incident() {
    assert_eq!(
        unit(&call()),
        "lastgood-hook-on-fallback-0123_abcd__.service"
    );
    let long = Call {
        incident: "x".repeat(300),
        ..call()
    };
    assert!(unit(&long).len() < 255);
}

#[test]
fn a_hook_is_told_what_happened_and_no_secret() {
    let told: serde_json::Value = serde_json::from_str(&told(&call()).unwrap()).unwrap();
    for (at, expected) in [
        ("/version", "1"),
        ("/event", "\"on-fallback\""),
        ("/generation", "\"1\""),
        ("/toplevel", "\"/nix/store/1\""),
        ("/cause/stage", "\"services\""),
        ("/cause/faults/0/key", "\"unit:a.service\""),
        ("/cause/units/0/exitStatus", "1"),
        ("/cause/units/0/log", "[]"),
    ] {
        assert_eq!(
            told.pointer(at).unwrap().to_string(),
            expected,
            "{at}: {told}"
        );
    }
    let environment = environment(&call());
    for line in [
        "LASTGOOD_EVENT=on-fallback",
        "LASTGOOD_GENERATION=1",
        "LASTGOOD_CLOSURE=/nix/store/1",
        "LASTGOOD_CAUSE=a.service",
        "LASTGOOD_STAGE=services",
        "LASTGOOD_FAULTS=unit:a.service",
    ] {
        assert!(
            environment.iter().any(|one| one == line),
            "{line}: {environment:?}"
        );
    }
    assert!(!told.to_string().contains("hunter2"));
}

/// A tree has no services, and a hook is for the machine that runs.
#[test]
fn in_a_tree_nothing_is_run() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    assert_eq!(run(&root, &call()).unwrap(), Outcome::Nothing);
}
