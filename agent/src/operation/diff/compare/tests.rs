use super::*;

fn file(place: &str, content: Option<(&str, &str)>, attributes: &[&str]) -> File {
    File {
        place: place.into(),
        content: content.map(|(digest, rest)| Content {
            digest: digest.to_owned(),
            digest_of_rest: rest.to_owned(),
        }),
        attributes: attributes.iter().map(|word| (*word).to_owned()).collect(),
    }
}

fn files_of(all: &[(&str, File)]) -> Files {
    let all = all.iter().cloned();
    all.map(|(name, file)| (name.to_owned(), file)).collect()
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

fn told(all: &[Difference]) -> Vec<String> {
    let line = |one: &Difference| {
        let Difference { name, from, to, .. } = one;
        let only = if one.only_store_paths { " only" } else { "" };
        format!("{} {name} {from:?} {to:?}{only}", one.change.sign())
    };
    all.iter().map(line).collect()
}

/// Nothing differs from itself, and what is new the one way is gone the other way.
#[test]
fn differences_the_other_way_round_are_the_same_ones() {
    let packages = |all: &[(&str, &[&str])]| -> Option<Packages> {
        let each = all.iter().map(|(name, versions)| {
            let versions = versions.iter().map(|one| (*one).to_owned());
            ((*name).to_owned(), versions.collect())
        });
        Some(each.collect())
    };
    let part = |name: &str, place: &str| Part {
        name: name.to_owned(),
        place: Some(place.into()),
    };
    let config = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
        let all = all.iter();
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let one = Contents {
        packages: packages(&[("a", &["1", "2"]), ("b", &[""]), ("same", &["1"])]),
        units: files_of(&[("a.service", file("/1", Some(("1", "1")), &[]))]),
        etc: files_of(&[("a", file("/1", Some(("1", "1")), &["mode 0444"]))]),
        firewall: Firewall {
            lines: strings(&["table", "a", "a"]),
            digest: "1".to_owned(),
        },
        boot: [("kernel", part("6.1", "/k1"))].into(),
        parameters: strings(&["quiet", "a=1", "a=1"]),
        config: config(&[("health.deadline-sec", "300"), ("a.b", "1")]),
    };
    let other = Contents {
        packages: packages(&[("a", &["2", "3"]), ("c", &["1"]), ("same", &["1"])]),
        units: files_of(&[("b.service", file("/1", Some(("1", "1")), &[]))]),
        etc: files_of(&[("a", file("/1", Some(("1", "1")), &["mode 0600"]))]),
        firewall: Firewall {
            lines: strings(&["table", "a"]),
            digest: "2".to_owned(),
        },
        boot: [("kernel", part("6.2", "/k2")), ("initrd", part("", "/i"))].into(),
        parameters: strings(&["quiet", "a=1", "panic=10"]),
        config: config(&[("health.deadline-sec", "600")]),
    };
    let there = differences(&one, &other);
    assert_eq!(
        told(&there.packages),
        [r#"~ a ["1"] ["3"]"#, r#"- b [""] []"#, r#"+ c [] ["1"]"#]
    );
    assert_eq!(
        told(&there.units),
        ["- a.service [] []", "+ b.service [] []"]
    );
    assert_eq!(told(&there.etc), [r#"~ a ["mode 0444"] ["mode 0600"]"#]);
    assert_eq!(told(&there.firewall), ["- a [] []"]);
    assert_eq!(
        told(&there.boot),
        [r#"+ initrd [] ["/i"]"#, r#"~ kernel ["6.1"] ["6.2"]"#]
    );
    assert_eq!(told(&there.parameters), ["- a=1 [] []", "+ panic=10 [] []"]);
    assert_eq!(
        told(&there.config),
        [
            r#"- a.b ["1"] []"#,
            r#"~ health.deadline-sec ["300"] ["600"]"#
        ]
    );
    let back = differences(&other, &one);
    for ((about, there), (_, back)) in there.sections().zip(back.sections()) {
        let mut turned: Vec<Difference> = there
            .iter()
            .map(|one| Difference {
                change: match one.change {
                    Change::Added => Change::Removed,
                    Change::Removed => Change::Added,
                    Change::Changed => Change::Changed,
                },
                from: one.to.clone(),
                to: one.from.clone(),
                ..one.clone()
            })
            .collect();
        let mut back = back.to_vec();
        // What goes is told before what comes, either way.
        for all in [&mut turned, &mut back] {
            all.sort_by(|a, b| a.name.cmp(&b.name));
        }
        assert_eq!(turned, back, "{about}");
    }
    for same in [&one, &other] {
        assert_eq!(differences(same, same), Differences::default());
    }
}

/// Every combination of place, content and attributes.
#[test]
fn a_file_differs_where_its_content_or_its_mode_does() {
    let contents = [None, Some(("1", "1")), Some(("2", "1")), Some(("3", "3"))];
    for before in contents {
        for after in contents {
            for place in ["/same", "/other"] {
                for mode in [&["mode 0444"][..], &["mode 0600"]] {
                    let from = file("/same", before, &["mode 0444"]);
                    let to = file(place, after, mode);
                    let found = files(&files_of(&[("f", from)]), &files_of(&[("f", to)]));
                    let is_known = before.is_some() && before == after;
                    let is_same = place == "/same" || is_known;
                    let has_same_mode = mode == ["mode 0444"];
                    assert_eq!(found.is_empty(), is_same && has_same_mode);
                    let Some(one) = found.first() else { continue };
                    assert_eq!(one.from.is_empty(), has_same_mode);
                    let rest = |one: Option<(&'static str, &'static str)>| one.map(|one| one.1);
                    let only = !is_same && before.is_some() && rest(before) == rest(after);
                    assert_eq!(one.only_store_paths, only && has_same_mode);
                }
            }
        }
    }
}

#[test]
fn an_order_is_a_difference_and_so_is_what_is_included() {
    let parameters = |all| Contents {
        parameters: strings(all),
        ..Contents::default()
    };
    let found = differences(&parameters(&["a", "b"]), &parameters(&["b", "a"]));
    assert_eq!(told(&found.parameters), ["~ their order [] []"]);
    let firewall = |digest: &str| Contents {
        firewall: Firewall {
            lines: strings(&["include x"]),
            digest: digest.to_owned(),
        },
        ..Contents::default()
    };
    let found = differences(&firewall("1"), &firewall("2"));
    assert_eq!(
        told(&found.firewall),
        ["~ a file that the ruleset includes [] []"]
    );
}

/// Sorted, nobody could tell which rule is in which chain.
#[test]
fn a_ruleset_that_comes_can_be_read_as_it_is_written() {
    let ruleset = ["table inet t {", "  chain c {", "    drop", "  }", "}"];
    let of = |lines: &[&str]| Contents {
        firewall: Firewall {
            lines: strings(lines),
            digest: lines.concat(),
        },
        ..Contents::default()
    };
    let names = |from: &[&str], to: &[&str]| {
        let found = differences(&of(from), &of(to)).firewall;
        let signed = found.into_iter().map(|one| (one.change, one.name));
        signed.collect::<Vec<_>>()
    };
    let all = |change| ruleset.map(|line| (change, line.to_owned())).to_vec();
    assert_eq!(names(&[], &ruleset), all(Change::Added));
    assert_eq!(names(&ruleset, &[]), all(Change::Removed));
    assert_eq!(
        names(&["a", "x", "a"], &["b", "x", "a"]),
        [
            (Change::Removed, "a".to_owned()),
            (Change::Added, "b".to_owned())
        ]
    );
}

/// What is not known is no difference.
#[test]
fn packages_are_compared_where_both_are_known() {
    let known = Contents {
        packages: Some(Packages::from([("a".to_owned(), BTreeSet::new())])),
        ..Contents::default()
    };
    let unknown = Contents::default();
    assert_eq!(differences(&known, &unknown), Differences::default());
    assert_eq!(differences(&unknown, &known), Differences::default());
}

/// A kernel of the same version is told by its path.
#[test]
fn what_is_called_the_same_is_told_by_its_path() {
    let boot = |place: &str| Contents {
        boot: BTreeMap::from([(
            "kernel",
            Part {
                name: "6.1".to_owned(),
                place: Some(place.into()),
            },
        )]),
        ..Contents::default()
    };
    let found = differences(&boot("/1"), &boot("/2"));
    assert_eq!(told(&found.boot), [r#"~ kernel ["/1"] ["/2"]"#]);
}
