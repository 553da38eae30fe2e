//! What carries the session that asks.

use super::*;

const A: &str = "[Service]\nExecStart=/a\n";
const B: &str = "[Service]\nExecStart=/b\n";
const S: &str = "[Socket]\nListenStream=1\n";

fn last(plan: &Plan) -> Vec<(&str, Job)> {
    let steps = plan.last.iter();
    steps.map(|step| (step.unit.as_str(), step.job)).collect()
}

#[test]
fn it_goes_down_and_up_in_one_job_after_all_else() {
    let mut situation = given(&[("sshd.service", A, B), ("web.service", A, B)]);
    state(&mut situation, "sshd.service").carries_session = true;
    let plan = plan(&situation);
    assert_eq!(
        lines(&plan),
        [
            "stop web.service: [Service] ExecStart= changed",
            "start web.service: [Service] ExecStart= changed",
            "restart sshd.service: [Service] ExecStart= changed; it carries this session",
        ]
    );
    assert_eq!(last(&plan), [("sshd.service", Job::Restart)]);
    assert_eq!(plan.intended["sshd.service"], Intent::Up);
    assert!(plan.reset_failed.contains("sshd.service"));
    // What it says of itself counts all the same.
    let no = format!("{B}X-RestartIfChanged=false\n");
    let mut situation = given(&[("sshd.service", A, &no)]);
    state(&mut situation, "sshd.service").carries_session = true;
    assert_eq!(
        deeds(&super::plan(&situation)),
        ["NOT restart sshd.service"]
    );
}

#[test]
fn what_would_take_it_down_waits_too() {
    let once = |text: &str| format!("{text}X-StopIfChanged=false\n");
    for (old, new) in [(A.to_owned(), B.to_owned()), (once(A), once(B))] {
        let mut situation = given(&[
            ("base.service", &old, &new),
            ("net.service", A, A),
            ("sshd.service", A, A),
            ("other.service", A, A),
        ]);
        hangs(&mut situation, "net.service", "base.service");
        hangs(&mut situation, "sshd.service", "net.service");
        hangs(&mut situation, "other.service", "base.service");
        state(&mut situation, "sshd.service").carries_session = true;
        let plan = plan(&situation);
        assert_eq!(plan.stop, Reasons::new());
        assert_eq!(plan.up, []);
        assert_eq!(last(&plan), [("base.service", Job::Restart)]);
        assert_eq!(plan.disturbed.len(), 3, "{plan:?}");
    }
    // What is gone goes, and the session's carrier is up again.
    let mut situation = given(&[("base.service", A, "-"), ("sshd.service", A, A)]);
    hangs(&mut situation, "sshd.service", "base.service");
    state(&mut situation, "sshd.service").carries_session = true;
    assert_eq!(
        deeds(&plan(&situation)),
        [
            "stop base.service",
            "take down sshd.service",
            "start sshd.service"
        ]
    );
}

#[test]
fn its_socket_too() {
    for carrier in ["sshd.socket", "sshd.service"] {
        let mut situation = given(&[
            ("sshd.socket", S, "[Socket]\nListenStream=2\n"),
            ("sshd.service", A, A),
        ]);
        triggers(&mut situation, "sshd.socket", "sshd.service");
        state(&mut situation, carrier).carries_session = true;
        let plan = plan(&situation);
        assert_eq!(plan.stop, Reasons::new());
        assert_eq!(
            last(&plan),
            [
                ("sshd.service", Job::Stop),
                ("sshd.socket", Job::Restart),
                ("sshd.service", Job::Start)
            ]
        );
    }
    // A socket that carries it is not stopped for its service.
    let mut situation = given(&[("sshd.socket", S, S), ("sshd.service", A, B)]);
    triggers(&mut situation, "sshd.socket", "sshd.service");
    state(&mut situation, "sshd.socket").carries_session = true;
    assert_eq!(last(&plan(&situation)), [("sshd.service", Job::Restart)]);
    // Nor does its service make way for a new one.
    let mut situation = given(&[
        ("sshd.socket", "-", S),
        ("sshd.service", A, A),
        ("sockets.target", "[Unit]\n", "[Unit]\nWants=sshd.socket\n"),
    ]);
    state(&mut situation, "sshd.service").carries_session = true;
    assert_eq!(deeds(&plan(&situation)), ["NOT restart sshd.socket"]);
}
