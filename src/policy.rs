//! Decides by a policy which calls are allowed. Its format is gRFC A43's, which grpc-go and gRPC's C++ have too.

mod audit;
mod object;
mod pattern;
mod rule;

use std::{collections::HashSet, sync::Arc};

use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::{
    audit::AuditOptions,
    object::Object,
    rule::{Name, Rule},
};

/// A policy. What a deny rule matches is refused, and of the rest, what no allow rule matches.
#[derive(Debug)]
pub(crate) struct Policy {
    name: Arc<str>,
    deny_rules: Vec<Rule>,
    allow_rules: Vec<Rule>,
    audit: AuditOptions,
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
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
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
    /// Any rule, however wrong the rest of it is.
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

    /// A policy that allows what this rule matches.
    fn with_rule(rule: &Value) -> Result<Policy, String> {
        Policy::parse(
            json!({"name": "p", "allow_rules": [rule]})
                .to_string()
                .as_bytes(),
        )
    }

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

    #[test]
    fn an_invalid_policy_is_refused_with_the_name_of_its_rule() {
        let pattern = "a pattern is text, text*, *text or *, and not empty";
        let path = "a path is /package.Service/Method, or a pattern that begins with / or *";
        let key = "of the headers, all can be named but host, those of one connection, and those that begin with : or grpc-";
        for (rule, expected) in [
            (json!({"request": {"paths": ["*a*"]}}), pattern),
            (json!({"request": {"paths": ["/a*b"]}}), pattern),
            (json!({"request": {"paths": ["**"]}}), pattern),
            (json!({"request": {"paths": [""]}}), pattern),
            (json!({"request": {"paths": ["a.B/C"]}}), path),
            (json!({"source": {"principals": ["*a*"]}}), pattern),
            (
                json!({"request": {"headers": [{"key": "a", "values": [""]}]}}),
                pattern,
            ),
            (
                json!({"request": {"headers": [{"key": "a", "values": []}]}}),
                "values takes at least one pattern",
            ),
            (
                json!({"request": {"headers": [{"key": "a"}]}}),
                "missing field `values`",
            ),
            (
                json!({"request": {"headers": [{"values": ["a"]}]}}),
                "missing field `key`",
            ),
            (
                json!({"request": {"headers": [{"key": "", "values": ["a"]}]}}),
                key,
            ),
            (
                json!({"request": {"headers": [{"key": "a b", "values": ["a"]}]}}),
                key,
            ),
            (
                json!({"request": {"headers": [{"key": ":path", "values": ["a"]}]}}),
                key,
            ),
            (
                json!({"request": {"headers": [{"key": "Host", "values": ["a"]}]}}),
                key,
            ),
            (
                json!({"request": {"headers": [{"key": "grpc-timeout", "values": ["a"]}]}}),
                key,
            ),
            (
                json!({"request": {"headers": [{"key": "Keep-Alive", "values": ["a"]}]}}),
                key,
            ),
            (
                json!({"principals": []}),
                "unknown field `principals`, expected one of `name`, `source`, `request`",
            ),
            (
                json!({"source": {"paths": []}}),
                "unknown field `paths`, expected `principals`",
            ),
            (json!({"source": []}), "expected a JSON object"),
            (json!({"source": null}), "expected a JSON object"),
            (
                json!({"source": {"principals": "secret"}}),
                "expected a sequence",
            ),
            (
                json!({"request": {"headers": [{"key": "a", "values": "secret, expected x"}]}}),
                "expected a sequence",
            ),
        ] {
            let mut rule = rule;
            rule["name"] = "web".into();
            let error = with_rule(&rule).unwrap_err();
            assert_eq!(
                error,
                format!("the rule \"web\" of allow_rules: {expected}"),
                "{rule}"
            );
        }
    }

    #[test]
    fn a_policy_is_whole() {
        let rule = r#"{"name": "r"}"#;
        let second_name = r#"the rule "r" of deny_rules: another rule of that list has this name"#;
        for (members, expected) in [
            (String::new(), "missing field `name`"),
            (r#""name": "p""#.into(), "missing field `allow_rules`"),
            (
                r#""name": "p", "allow_rules": []"#.into(),
                "allow_rules takes at least one rule",
            ),
            (
                format!(r#""name": "", "allow_rules": [{rule}]"#),
                "a name has at least one character",
            ),
            (
                format!(r#""name": "p", "allow_rules": [{rule}, {{}}]"#),
                "rule 2 of allow_rules: missing field `name`",
            ),
            (
                format!(r#""name": "p", "allow_rules": [[]]"#),
                "rule 1 of allow_rules: expected a JSON object",
            ),
            (
                r#""name": "p", "allow_rules": [{"name": ""}]"#.into(),
                "the rule \"\" of allow_rules: a name has",
            ),
            (
                format!(r#""name": "p", "allow_rules": [{rule}], "deny_rules": [{rule}, {rule}]"#),
                second_name,
            ),
            (
                format!(r#""name": "p", "name": "q", "allow_rules": [{rule}]"#),
                "duplicate field `name`",
            ),
            (
                format!(r#""name": "p", "allow_rules": [{rule}], "denyrules": []"#),
                "unknown field `denyrules`",
            ),
            (
                format!(
                    r#""name": "p", "allow_rules": [{rule}], "audit_logging_options": {{"audit_condition": "ALL"}}"#
                ),
                "unknown variant `ALL`, expected one of `NONE`",
            ),
            (
                format!(
                    r#""name": "p", "allow_rules": [{rule}],
                    "audit_logging_options": {{"audit_loggers": [{{"name": "x"}}]}}"#
                ),
                "a logger other than stdout_logger takes \"is_optional\": true",
            ),
        ] {
            let error = Policy::parse(format!("{{{members}}}").as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{members}: {error}");
        }
        for text in ["", "[]", "{} {}", "\u{feff}{}"] {
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
}
