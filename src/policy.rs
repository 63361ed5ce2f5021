//! The policy: reads its file, and decides by its rules whether a call is allowed. The server and the `authz` command ask it.
//!
//! Its format is gRFC A43's, which grpc-go and gRPC's C++ have too.

mod audit;
mod object;
mod pattern;
mod rule;

use std::{collections::HashSet, fmt, path::Path, sync::Arc};

use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::{
    audit::AuditOptions,
    object::Object,
    rule::{Name, Rule},
};
use crate::{
    config::ConfigError,
    followed_files::{FollowedFiles, SettingFile},
};

/// A policy. What a deny rule matches is refused, and of the rest, what no allow rule matches.
pub(crate) struct Policy {
    name: Arc<str>,
    deny_rules: Vec<Rule>,
    allow_rules: Vec<Rule>,
    audit: AuditOptions,
}

/// Shows no rule: the pattern of a header can be a secret.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut policy = f.debug_struct("Policy");
        policy.field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a policy is asked about.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The caller's names: see [`crate::identity::Identity::principals`].
    pub(crate) principals: &'a [String],
    /// `/package.Service/Method`
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

/// What a policy says about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) is_allowed: bool,
    /// The policy's name.
    pub(crate) policy: Arc<str>,
    /// The rule that decided; `None` if no rule matched.
    pub(crate) rule: Option<Arc<str>>,
    /// Whether the policy asks to log this decision.
    pub(crate) is_audited: bool,
}

/// The file. Rules are read one by one, so that an error can name its rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    name: Name,
    #[serde(borrow)]
    allow_rules: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    deny_rules: Vec<&'a RawValue>,
    #[serde(default)]
    audit_logging_options: Object<AuditOptions>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// What is wrong, and in which rule. The text holds no pattern: that of a header can be a secret.
    fn parse(json: &[u8]) -> Result<Self, String> {
        let Object::<File<'_>>(file) =
            serde_json::from_slice(json).map_err(|error| without_values(&error.to_string()))?;
        if file.allow_rules.is_empty() {
            return Err(
                "allow_rules takes at least one rule: without one, no call is allowed".into(),
            );
        }
        Ok(Self {
            name: file.name.0,
            deny_rules: rules("deny_rules", &file.deny_rules)?,
            allow_rules: rules("allow_rules", &file.allow_rules)?,
            audit: file.audit_logging_options.0,
        })
    }

    /// Reads a policy from the file that the option names.
    ///
    /// # Errors
    ///
    /// Why the file cannot be read, or what is wrong with the policy.
    pub(crate) fn load(
        flag: &'static str,
        path: &Path,
    ) -> Result<FollowedFiles<Arc<Self>>, ConfigError> {
        let file = SettingFile::new(flag, "a file with a policy in the format of gRFC A43", path);
        FollowedFiles::load("the policy", vec![file], |files| {
            let policy = Self::parse(&files[0].bytes).map(Arc::new);
            policy.map_err(|error| files[0].error(error))
        })
    }

    pub(crate) fn decide(&self, request: &Request<'_>) -> Decision {
        let matching = |rules: &[Rule]| {
            let rule = rules.iter().find(|rule| rule.matches(request));
            rule.map(|rule| Arc::clone(&rule.name.0))
        };
        let denied_by = matching(&self.deny_rules);
        let allowed_by = match denied_by {
            Some(_) => None,
            None => matching(&self.allow_rules),
        };
        let is_allowed = allowed_by.is_some();
        Decision {
            is_allowed,
            policy: Arc::clone(&self.name),
            rule: denied_by.or(allowed_by),
            is_audited: self.audit.covers(is_allowed),
        }
    }
}

fn rules(list: &str, texts: &[&RawValue]) -> Result<Vec<Rule>, String> {
    let mut names = HashSet::new();
    let mut rules = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let rule = rule(text.get()).map_err(|(name, error)| match name {
            Some(name) => format!("the rule {name:?} of {list}: {error}"),
            None => format!("rule {} of {list}: {error}", index + 1),
        })?;
        if !names.insert(Arc::clone(&rule.name.0)) {
            let name = rule.name.0;
            return Err(format!(
                "the rule {name:?} of {list}: another rule of that list has this name"
            ));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// Reads one rule. An error comes with the rule's name, if it has one.
fn rule(text: &str) -> Result<Rule, (Option<String>, String)> {
    /// The name of a rule, even if the rest of it is invalid.
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_str(text)
        .map(|Object(rule)| rule)
        .map_err(|error: serde_json::Error| {
            let named = serde_json::from_str::<Object<Named>>(text);
            // The line and the column are counted from the beginning of the rule, and would mislead.
            let place = format!(" at line {} column {}", error.line(), error.column());
            let error = error.to_string().replace(&place, "");
            (
                named.ok().map(|Object(rule)| rule.name),
                without_values(&error),
            )
        })
}

/// The message of a parser's error without the value that it shows: `invalid type: string "abc", expected a sequence`.
fn without_values(error: &str) -> String {
    let invalid = error.strip_prefix("invalid ");
    match invalid.and_then(|text| text.rsplit_once(", expected ")) {
        Some((_, expected)) => format!("expected {expected}"),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::{Value, json};

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        name: String,
        policy: Value,
        cases: Vec<Case>,
    }

    /// A request, and what a policy says about it.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        #[serde(default)]
        principals: Vec<String>,
        path: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
        is_allowed: bool,
        rule: Option<String>,
    }

    impl Case {
        fn decision(&self, policy: &Policy) -> (bool, Option<String>) {
            let header = |(name, value): &(String, String)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            };
            let decision = policy.decide(&Request {
                principals: &self.principals,
                path: &self.path,
                headers: &self.headers.iter().map(header).collect(),
            });
            (
                decision.is_allowed,
                decision.rule.map(|rule| rule.to_string()),
            )
        }
    }

    #[test]
    fn decisions_are_those_of_grfc_a43() {
        let vectors: Vec<Vectors> =
            serde_json::from_str(include_str!("policy/vectors.json")).unwrap();
        for Vectors {
            name,
            policy,
            cases,
        } in vectors
        {
            let policy = Policy::parse(policy.to_string().as_bytes()).unwrap();
            for case in cases {
                let expected = (case.is_allowed, case.rule.clone());
                assert_eq!(case.decision(&policy), expected, "{name}: {case:?}");
            }
        }
    }

    #[derive(Deserialize)]
    struct Invalid {
        policy: Box<RawValue>,
        error: String,
    }

    #[test]
    fn an_invalid_policy_is_refused_with_the_name_of_its_rule() {
        let table: Vec<Invalid> =
            serde_json::from_str(include_str!("policy/invalid.json")).unwrap();
        for Invalid { policy, error } in table {
            let found = Policy::parse(policy.get().as_bytes()).unwrap_err();
            // Errors of the file itself, unlike those of a rule, end with a place.
            let place = found.strip_prefix(&error);
            assert!(
                place.is_some_and(|it| it.is_empty() || it.starts_with(" at line 1 ")),
                "{policy}: {found}"
            );
        }
        for text in ["", "{} {}", "\u{feff}{}"] {
            Policy::parse(text.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn the_audit_condition_says_which_decisions_are_logged() {
        for (options, on_deny, on_allow) in [
            (json!({}), true, false),
            (json!({"audit_condition": "NONE"}), false, false),
            (json!({"audit_condition": "ON_DENY"}), true, false),
            (json!({"audit_condition": "ON_ALLOW"}), false, true),
            (
                json!({"audit_condition": "ON_DENY_AND_ALLOW", "audit_loggers": [
                    {"name": "stdout_logger", "config": {}},
                    {"name": "other", "is_optional": true},
                ]}),
                true,
                true,
            ),
        ] {
            let policy = json!({
                "name": "p",
                "allow_rules": [{"name": "a", "request": {"paths": ["/a"]}}],
                "audit_logging_options": options,
            });
            let policy = Policy::parse(policy.to_string().as_bytes()).unwrap();
            let is_audited = |path| {
                let (principals, headers) = (&[], &HeaderMap::new());
                let request = Request {
                    principals,
                    path,
                    headers,
                };
                policy.decide(&request).is_audited
            };
            assert_eq!(
                (is_audited("/b"), is_audited("/a")),
                (on_deny, on_allow),
                "{options}"
            );
        }
    }

    #[test]
    fn debug_shows_no_pattern() {
        let policy = json!({"name": "keys", "allow_rules": [
            {"name": "one", "request": {"headers": [{"key": "et-app-key", "values": ["canary"]}]}},
        ]});
        let policy = Policy::parse(policy.to_string().as_bytes()).unwrap();
        assert!(!format!("{policy:?}").contains("canary"));
    }
}
