//! The story as a picture: boots as bars, verdicts as marks, and below what the world got to see. Pure: from what happened.

use std::time::Duration;

use lastgood_tests::machine::{Fact, Look};
use lastgood_tests::timeline::{Event, Mark};

/// Of the picture, in its own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 262.0;
/// Where time begins, and ends.
const LEFT: f64 = 110.0;
const RIGHT: f64 = 940.0;
/// The rows.
const CHAPTERS: f64 = 24.0;
const BOOTS: f64 = 70.0;
const PAGE: f64 = 150.0;
const AXIS: f64 = 212.0;
const BAR: f64 = 34.0;

/// How a boot was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Proven,
    Rejected,
}

/// One boot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Boot {
    from: Duration,
    to: Duration,
    generation: Option<u32>,
    verdict: Option<(Duration, Verdict)>,
}

/// The boots among `events`. The last one goes on until the last event.
fn boots(events: &[Event]) -> Vec<Boot> {
    let mut boots: Vec<Boot> = Vec::new();
    let mut is_on = false;
    for event in events {
        let at = event.at;
        if let Some(boot) = boots.last_mut().filter(|_| is_on) {
            boot.to = at;
        }
        match &event.mark {
            Some(Mark::PowerOn | Mark::Said(Fact::LoaderStarted)) => {
                is_on = true;
                boots.push(Boot {
                    from: at,
                    to: at,
                    generation: None,
                    verdict: None,
                });
            }
            Some(Mark::PowerOff) => is_on = false,
            Some(Mark::Said(fact)) => {
                let (generation, verdict) = match fact {
                    Fact::Proven(number) => (*number, Some((at, Verdict::Proven))),
                    Fact::Rejected(number) => (*number, Some((at, Verdict::Rejected))),
                    Fact::Begun(number) => (*number, None),
                    _ => continue,
                };
                if let Some(boot) = boots.last_mut() {
                    boot.generation = Some(generation);
                    boot.verdict = verdict.or(boot.verdict);
                }
            }
            Some(Mark::Chapter) | None => {}
        }
    }
    boots
}

/// What was served from when to when, as long as it was the same.
fn answers(looks: &[Look]) -> Vec<(Duration, Duration, Option<&str>)> {
    let mut answers: Vec<(Duration, Duration, Option<&str>)> = Vec::new();
    for (at, page) in looks {
        let page = page.as_deref();
        match answers.last_mut() {
            Some((_, to, served)) => {
                *to = *at;
                if *served != page {
                    answers.push((*at, *at, page));
                }
            }
            None => answers.push((*at, *at, page)),
        }
    }
    answers
}

/// The picture of what happened, as SVG.
pub(super) fn of(events: &[Event], looks: &[Look]) -> String {
    let end = events.last().map_or(Duration::ZERO, |event| event.at);
    let scale = Scale { end };
    let mut shapes = Vec::new();
    for boot in boots(events) {
        shapes.extend(boot_shapes(&scale, &boot));
    }
    shapes.push(label(BOOTS + BAR / 2.0, "boots"));
    for (from, to, page) in answers(looks) {
        shapes.extend(page_shapes(&scale, from, to, page));
    }
    shapes.push(label(PAGE + BAR / 2.0, "port 80 says"));
    for event in events
        .iter()
        .filter(|event| event.mark == Some(Mark::Chapter))
    {
        let x = scale.x(event.at);
        let bottom = AXIS - 8.0;
        shapes.push(format!(
            r#"<line class="chapter" x1="{x:.1}" y1="{CHAPTERS}" x2="{x:.1}" y2="{bottom}"/>"#
        ));
    }
    shapes.extend(axis(&scale));
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="A bad generation is booted, rejected and left again, with nobody at the console">"#
    );
    svg.push_str(STYLE);
    svg.push_str(&shapes.join("\n"));
    svg.push_str("\n</svg>\n");
    svg
}

const STYLE: &str = "
<style>
text { font: 13px sans-serif; fill: #24292f }
.small { font-size: 11px }
.bar { stroke: none }
.trial { fill: #9a6700 }
.proven { fill: #1a7f37 }
.rejected { fill: #cf222e }
.none { fill: #d0d7de }
.other { fill: #0969da }
.chapter { stroke: #8c959f; stroke-dasharray: 2 4 }
.axis { stroke: #8c959f }
.mark { stroke: #ffffff; stroke-width: 2.5; fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.none { fill: #30363d }
}
</style>
";

/// Time along the picture.
struct Scale {
    end: Duration,
}

impl Scale {
    fn x(&self, at: Duration) -> f64 {
        let end = self.end.as_secs_f64().max(1.0);
        LEFT + (RIGHT - LEFT) * (at.as_secs_f64() / end).min(1.0)
    }
}

fn label(y: f64, text: &str) -> String {
    let x = LEFT - 10.0;
    let y = y + 4.0;
    format!(r#"<text x="{x}" y="{y}" text-anchor="end">{text}</text>"#)
}

fn bar(class: &str, y: f64, from: f64, to: f64) -> String {
    // So that what lasted a moment is seen, too.
    let width = (to - from).max(1.5);
    format!(
        r#"<rect class="bar {class}" x="{from:.1}" y="{y}" width="{width:.1}" height="{BAR}"/>"#
    )
}

/// From the loader to the verdict it is a trial, or not judged; from then on it is what the verdict says.
fn boot_shapes(scale: &Scale, boot: &Boot) -> Vec<String> {
    let (from, to) = (scale.x(boot.from), scale.x(boot.to));
    let mut shapes = Vec::new();
    let Some((at, verdict)) = boot.verdict else {
        // A generation that was proven before is not judged in words again.
        shapes.push(bar("proven", BOOTS, from, to));
        shapes.extend(caption(boot, from, to, "last good"));
        return shapes;
    };
    let at = scale.x(at);
    let (class, said, mark) = match verdict {
        Verdict::Proven => ("proven", "proven", "m -5 0 l 4 5 l 7 -9"),
        Verdict::Rejected => ("rejected", "rejected", "m -5 -5 l 10 10 m 0 -10 l -10 10"),
    };
    let middle = BOOTS + BAR / 2.0;
    shapes.push(bar("trial", BOOTS, from, at));
    shapes.push(bar(class, BOOTS, at, to.max(at + 22.0)));
    let mark_at = at + 11.0;
    shapes.push(format!(
        r#"<path class="mark" d="M {mark_at:.1} {middle} {mark}"/>"#
    ));
    shapes.extend(caption(boot, from, to, said));
    shapes
}

/// What stands above a boot.
fn caption(boot: &Boot, from: f64, to: f64, said: &str) -> [String; 2] {
    let middle = f64::midpoint(from, to);
    let (name, verdict) = (BOOTS - 22.0, BOOTS - 7.0);
    let generation = boot
        .generation
        .map_or("?".to_owned(), |number| number.to_string());
    [
        format!(
            r#"<text x="{middle:.1}" y="{name}" text-anchor="middle">generation {generation}</text>"#
        ),
        format!(
            r#"<text class="small" x="{middle:.1}" y="{verdict}" text-anchor="middle">{said}</text>"#
        ),
    ]
}

fn page_shapes(scale: &Scale, from: Duration, to: Duration, page: Option<&str>) -> Vec<String> {
    let (from, to) = (scale.x(from), scale.x(to));
    let class = if page.is_some() { "other" } else { "none" };
    let mut shapes = vec![bar(class, PAGE, from, to)];
    if let Some(page) = page {
        // Below, because a page that is served for a few seconds has no room for its words.
        let middle = f64::midpoint(from, to);
        let y = PAGE + BAR + 14.0;
        let page = escaped(paragraph(page));
        shapes.push(format!(
            r#"<text class="small" x="{middle:.1}" y="{y}" text-anchor="middle">{page}</text>"#
        ));
    }
    shapes
}

/// The first paragraph of a page, or what is no page as it is.
fn paragraph(page: &str) -> &str {
    let text = page.split_once("<p>").map(|(_, rest)| rest);
    let text = text.and_then(|rest| rest.split_once("</p>"));
    text.map_or(page, |(text, _)| text)
}

fn axis(scale: &Scale) -> Vec<String> {
    let mut shapes = vec![format!(
        r#"<line class="axis" x1="{LEFT}" y1="{AXIS}" x2="{RIGHT}" y2="{AXIS}"/>"#
    )];
    for at in (0..=scale.end.as_secs()).step_by(30) {
        let x = scale.x(Duration::from_secs(at));
        let (tick, text) = (AXIS + 5.0, AXIS + 20.0);
        shapes.push(format!(
            r#"<line class="axis" x1="{x:.1}" y1="{AXIS}" x2="{x:.1}" y2="{tick}"/><text class="small" x="{x:.1}" y="{text}" text-anchor="middle">{at} s</text>"#
        ));
    }
    let y = AXIS + 40.0;
    shapes.push(format!(
        r#"<text class="small" x="{LEFT}" y="{y}">An emulated machine without KVM. Yellow: tried. Green: proven. Red: rejected, with nobody at the console. Grey: no answer.</text>"#
    ));
    shapes
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, mark: Mark) -> Event {
        Event {
            at: Duration::from_secs(at),
            what: String::new(),
            mark: Some(mark),
        }
    }

    fn said(at: u64, fact: Fact) -> Event {
        event(at, Mark::Said(fact))
    }

    #[test]
    fn a_boot_lasts_until_the_next_one_and_has_its_verdict() {
        let events = [
            event(0, Mark::PowerOn),
            said(30, Fact::Proven(1)),
            said(50, Fact::LoaderStarted),
            said(60, Fact::Begun(2)),
            said(70, Fact::Rejected(2)),
            said(75, Fact::LoaderStarted),
            said(80, Fact::Begun(1)),
            event(90, Mark::PowerOff),
            event(95, Mark::Chapter),
        ];
        let found: Vec<_> = boots(&events)
            .into_iter()
            .map(|boot| {
                let verdict = boot.verdict.map(|(at, verdict)| (at.as_secs(), verdict));
                (
                    boot.from.as_secs(),
                    boot.to.as_secs(),
                    boot.generation,
                    verdict,
                )
            })
            .collect();
        let expected = [
            (0, 50, Some(1), Some((30, Verdict::Proven))),
            (50, 75, Some(2), Some((70, Verdict::Rejected))),
            (75, 90, Some(1), None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn answers_that_are_the_same_are_one() {
        let look = |at, page: Option<&str>| (Duration::from_secs(at), page.map(str::to_owned));
        let looks = [
            look(0, None),
            look(1, Some("one")),
            look(2, Some("one")),
            look(3, None),
            look(4, Some("<two>")),
        ];
        let found: Vec<_> = answers(&looks)
            .into_iter()
            .map(|(from, to, page)| (from.as_secs(), to.as_secs(), page))
            .collect();
        let expected = [
            (0, 1, None),
            (1, 3, Some("one")),
            (3, 4, None),
            (4, 4, Some("<two>")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_picture_shows_each_boot_and_what_was_served() {
        let events = [
            event(0, Mark::PowerOn),
            said(30, Fact::Rejected(7)),
            event(90, Mark::PowerOff),
        ];
        let looks = [
            (Duration::from_secs(1), Some("a < b".to_owned())),
            (
                Duration::from_secs(80),
                Some("<title>x</title><p>c</p>".to_owned()),
            ),
        ];
        let svg = of(&events, &looks);
        for words in ["generation 7", "rejected", "a &lt; b", ">c</text>", "90 s"] {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        assert!(!svg.contains("a < b"), "{svg}");
    }
}
