//! Decisions of the example workspace against a second implementation of the same rules, written by hand, over random
//! users, rooms and actions from a printed seed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod support;

use kentongan_rules::{Action, Identity, Rules, compile};
use support::{Random, workspace};

const DECISIONS: usize = 20_000;

const USERS: [&str; 4] = ["anna", "ben", "mallory", "Zoë \"\\ x"];
/// Some are there more often, so that enough is allowed.
const ORGS: [&str; 5] = ["acme", "acme", "acme", "umbra", ""];
const PROJECTS: [&str; 3] = ["apollo", "gemini", "x\"y"];
const ROLES: [&str; 3] = ["admin", "guest", "member"];
const FEATURES: [&str; 6] = ["chat", "chat", "chat", "activity", "board", "nothing"];
const TITLES: [&str; 3] = ["general", "announcements", "x"];
const MESSAGES: [&str; 5] = ["post", "typing", "event", "cursor", "nothing"];

struct Case {
    user: &'static str,
    org: &'static str,
    projects: Vec<&'static str>,
    roles: Vec<&'static str>,
    feature: &'static str,
    room_org: &'static str,
    project: &'static str,
    title: &'static str,
    action: Action<'static>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let some = |random: &mut Random, all: &[&'static str]| -> Vec<&'static str> {
            all.iter()
                .copied()
                .filter(|_| random.below(2) == 0)
                .collect()
        };
        let action = match random.below(6) {
            0 => Action::Join,
            1 => Action::Read,
            2 => Action::Presence,
            _ => Action::Send(random.pick(&MESSAGES)),
        };
        Self {
            user: random.pick(&USERS),
            org: random.pick(&ORGS),
            projects: some(random, &PROJECTS),
            roles: some(random, &ROLES),
            feature: random.pick(&FEATURES),
            room_org: random.pick(&ORGS),
            project: random.pick(&PROJECTS),
            title: random.pick(&TITLES),
            action,
        }
    }

    fn room(&self) -> String {
        let Self {
            feature,
            room_org,
            project,
            title,
            ..
        } = self;
        match *feature {
            "chat" => format!("chat/{room_org}/{project}/{title}"),
            _ => format!("{feature}/{room_org}/{project}"),
        }
    }

    /// The rules of the workspace, in plain Rust. None: there is no such room.
    fn expected(&self) -> Option<bool> {
        if self.feature == "nothing" || self.room_org.is_empty() {
            return None;
        }
        let is_member = self.projects.contains(&self.project);
        let is_at_home = self.org == self.room_org;
        let is_admin = self.roles.contains(&"admin");
        if self.user == "mallory" {
            return Some(false);
        }
        Some(match (self.feature, self.action) {
            ("chat", Action::Send("post")) => {
                is_member
                    && is_at_home
                    && !self.roles.contains(&"guest")
                    && (self.title != "announcements" || is_admin)
            }
            ("chat", Action::Send("typing")) => {
                is_member && is_at_home && !self.roles.contains(&"guest")
            }
            ("chat", Action::Join | Action::Read | Action::Presence) => {
                is_at_home && (is_member || is_admin)
            }
            ("board", Action::Send("cursor"))
            | ("board" | "activity", Action::Join | Action::Read | Action::Presence) => {
                is_at_home && is_member
            }
            _ => false,
        })
    }

    fn actual(&self, rules: &Rules) -> Option<bool> {
        let owned = |list: &[&str]| list.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>();
        let identity = Identity::new(
            self.user,
            self.org,
            owned(&self.projects),
            owned(&self.roles),
        )
        .unwrap();
        let name = self.room();
        let room = rules.room(&name)?;
        Some(rules.authorize(&identity, self.action, &room).allowed)
    }
}

#[test]
fn decisions_are_those_of_the_model() {
    let seed = 0x5eed;
    let mut random = Random(seed);
    let rules = compile(&workspace(), "kentongan.toml").unwrap();
    let (mut allowed, mut refused, mut nowhere) = (0, 0, 0);
    for number in 0..DECISIONS {
        let case = Case::random(&mut random);
        let expected = case.expected();
        match expected {
            Some(true) => allowed += 1,
            Some(false) => refused += 1,
            None => nowhere += 1,
        }
        assert_eq!(
            case.actual(&rules),
            expected,
            "seed {seed}, decision {number}: {} of {:?} with {:?} and {:?}: {:?} in {}",
            case.user,
            case.org,
            case.projects,
            case.roles,
            case.action,
            case.room()
        );
    }
    // A model that always says the same proves nothing.
    assert!(
        allowed > 1_000 && refused > 1_000 && nowhere > 1_000,
        "{allowed} {refused} {nowhere}"
    );
    // Remembered decisions were used: there are far fewer of them than were asked for.
    let remembered = rules.policies().remembered();
    assert!(remembered > 0 && remembered < DECISIONS, "{remembered}");
}
