//! Random trees.

use proptest::prelude::*;

use super::{SERVICES, Tree, file_of, universe};

/// One random unit: what decides about it, as numbers.
fn service(index: usize) -> impl Strategy<Value = String> {
    let hangs = prop::collection::vec(0..14_u8, index);
    let says = (0..12_u8, 0..3_u8, 0..2_u8, 0..3_u8, 0..8_u8, any::<bool>());
    (says, hangs).prop_map(|((there, exec, stop, reload, says, described), hangs)| {
        if there == 0 {
            return String::new();
        }
        if there == 1 {
            return "masked".to_owned();
        }
        let mut text = String::from("[Unit]\n");
        if described {
            text += "Description=x\n";
        }
        for (on, how) in SERVICES.iter().zip(hangs) {
            let line = match how {
                0 => format!("Requires={on}\nAfter={on}\n"),
                1 => format!("PartOf={on}\n"),
                2 => format!("BindsTo={on}\nAfter={on}\n"),
                3 => format!("Wants={on}\n"),
                4 => format!("Requisite={on}\nAfter={on}\n"),
                _ => String::new(),
            };
            text.push_str(&line);
        }
        let line = format!("[Service]\nExecStart=/{exec}\n");
        text.push_str(&line);
        if stop > 0 {
            text += "ExecStop=/stop\n";
        }
        if reload > 0 {
            let line = format!("ExecReload=/{reload}\n");
            text.push_str(&line);
        }
        text += match says {
            0 => "X-RestartIfChanged=false\n",
            1 | 2 => "X-StopIfChanged=false\n",
            3 => "X-NotSocketActivated=true\n",
            4 => "X-ReloadIfChanged=true\n",
            _ => "",
        };
        text
    })
}

fn socket() -> impl Strategy<Value = String> {
    (0..5_u8, 0..3_u8).prop_map(|(listen, mode)| match listen {
        0 | 1 => String::new(),
        _ => format!("[Socket]\nListenStream={listen}\nSocketMode={mode}\n"),
    })
}

fn target(others: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(0..3_u8, others.len()).prop_map(move |wants| {
        let wants = others.iter().zip(wants).filter(|(_, want)| *want > 0);
        let wants: Vec<&str> = wants.map(|(name, _)| *name).collect();
        format!("[Unit]\nWants={}\n", wants.join(" "))
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let services = (service(0), service(1), service(2), service(3), service(4));
    let sockets = (socket(), socket());
    let of_t = &["a.service", "b.socket", "c.service"];
    let of_all = &[
        "t.target",
        "d.service",
        "b.service",
        "i@1.service",
        "c.socket",
    ];
    let targets = (target(of_all), target(of_t), 0..4_u8);
    (services, sockets, targets).prop_map(|((d, b, i, a, c), (bs, cs), (multi, t, has_t))| {
        let t = if has_t == 0 { String::new() } else { t };
        let texts = [d, b, i, a, c, bs, cs, multi, t];
        let tree = universe().map(file_of).map(str::to_owned).zip(texts);
        tree.filter(|(_, text)| !text.is_empty()).collect()
    })
}

/// A tree, and another in which some units are different.
pub(super) fn pair() -> impl Strategy<Value = (Tree, Tree)> {
    (tree(), tree(), prop::collection::vec(0..3_u8, 9)).prop_map(|(old, other, changed)| {
        let mut new = old.clone();
        for (name, changed) in universe().map(file_of).zip(changed) {
            if changed == 0 {
                new.remove(name);
                let text = other.get(name);
                new.extend(text.map(|text| (name.to_owned(), text.clone())));
            }
        }
        // Nobody boots without it.
        new.entry("multi-user.target".to_owned())
            .or_insert_with(|| "[Unit]\n".to_owned());
        (old, new)
    })
}
