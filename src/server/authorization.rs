//! Applies the policy to the calls that arrive: refuses those that [`crate::policy`] does not allow, counts its decisions, and
//! logs them for health and reflection.

use std::sync::Arc;

use http::Request;
use tokio::sync::watch;
use tracing::Level;

use crate::{
    config::{AuthzMode, AuthzOptions, ConfigError},
    connect_info::ConnectInfo,
    error::Error,
    policy::{self, Decision, Policy},
    rpc::Rpc,
    status::{Classification, code_name},
    telemetry::{
        call_observer::log_at,
        metrics::{Metrics, rpc_name},
    },
};

/// The services beside ours, as metrics and the log name them.
const AUXILIARY: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The policy, and what becomes of the calls that it does not allow.
#[derive(Debug)]
pub(crate) struct Authorization {
    policy: watch::Receiver<Arc<Policy>>,
    mode: AuthzMode,
    metrics: Arc<Metrics>,
}

impl Authorization {
    /// Reads the policy and starts to follow its file; `None` if there is none. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the policy cannot be read or is invalid.
    pub(crate) fn load(
        options: &AuthzOptions,
        reload: &watch::Receiver<()>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(path) = &options.authz_policy else {
            return Ok(None);
        };
        let file = Policy::load("--authz-policy", path)?;
        let authorization = Self {
            policy: file.follow(reload.clone(), |_| {}),
            mode: options.authz_mode,
            metrics: Arc::clone(metrics),
        };
        authorization.initialize_series();
        Ok(Some(authorization))
    }

    /// Makes the series of refusals: Prometheus sees no increase in a counter that begins at one.
    fn initialize_series(&self) {
        let names = Rpc::ALL.map(Rpc::full_name).into_iter();
        for name in names.chain(AUXILIARY).chain([rpc_name(None)]) {
            self.count(0, name, false, None);
        }
    }

    /// Decides whether a call is allowed. [`Error::NotAllowed`] if it must not be served.
    fn decide<B>(
        &self,
        request: &Request<B>,
        caller: &ConnectInfo,
    ) -> (Decision, Result<(), Error>) {
        let path = request.uri().path();
        let mut decision = self.policy.borrow().decide(&policy::Request {
            principals: &caller.identity.principals,
            path,
            headers: request.headers(),
        });
        self.count(1, name(path), decision.is_allowed, decision.rule.clone());
        let is_served = decision.is_allowed || self.mode == AuthzMode::Audit;
        // In audit mode, the log shows every call that the policy would refuse, whatever its audit_condition says.
        decision.is_audited |= is_served && !decision.is_allowed;
        (decision, is_served.then_some(()).ok_or(Error::NotAllowed))
    }

    fn count(&self, count: u64, rpc: &'static str, is_allowed: bool, rule: Option<Arc<str>>) {
        let decision = match (is_allowed, self.mode) {
            (true, _) => "allowed",
            (false, AuthzMode::Enforce) => "denied",
            (false, AuthzMode::Audit) => "would_deny",
        };
        self.metrics
            .count_authz_decisions(count, rpc, decision, rule);
    }
}

/// Decides whether a call is allowed; without a policy, each is. [`Error::NotAllowed`] if it must not be served.
pub(super) fn authorize<B>(
    authorization: Option<&Authorization>,
    request: &Request<B>,
    caller: &ConnectInfo,
) -> (Option<Decision>, Result<(), Error>) {
    let Some(authorization) = authorization else {
        return (None, Ok(()));
    };
    let (decision, result) = authorization.decide(request, caller);
    (Some(decision), result)
}

/// The same for health and reflection. Only those of their calls that the policy does not allow have a log line.
pub(super) fn authorize_unobserved<B>(
    authorization: Option<&Authorization>,
    request: &Request<B>,
    caller: &ConnectInfo,
) -> Result<(), Error> {
    let (decision, result) = authorize(authorization, request, caller);
    let refusal = result.as_ref().err();
    let refusal = refusal.map(|error| Classification::of(error, false));
    let audited = decision.filter(|it| it.is_audited && !it.is_allowed);
    if refusal.is_none() && audited.is_none() {
        return result;
    }
    let level = refusal.map_or(Level::INFO, |_| Level::WARN);
    log_at!(
        level,
        rpc = name(request.uri().path()),
        code = refusal.map(|it| code_name(it.code)),
        reason = refusal.map(|it| it.reason.as_str_name()),
        fault = refusal.map(|it| it.fault.as_str()),
        outcome = refusal.map(|it| it.outcome.as_str()),
        peer = caller.transport.as_str(),
        principal = caller.identity.principal(),
        event = refusal.map(|_| "authz_fail"),
        policy = audited.as_ref().map(|it| &*it.policy),
        rule = audited.as_ref().and_then(|it| it.rule.as_deref()),
        authorized = audited.as_ref().map(|it| it.is_allowed),
        "call"
    );
    result
}

/// Our rpc's full name, the service of another call, or what stands for methods that do not exist.
fn name(path: &str) -> &'static str {
    let is_of = |service: &&str| {
        let (of, _) = path.rsplit_once('/').unwrap_or_default();
        of.strip_prefix('/') == Some(service)
    };
    let auxiliary = AUXILIARY.into_iter().find(is_of);
    auxiliary.unwrap_or_else(|| rpc_name(Rpc::by_path(path)))
}
