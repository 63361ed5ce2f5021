//! Certificates of all kinds: good ones, and those with which a client must not get in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The kinds of keys that can be made here, with their names. RSA keys are left to `.ci/tls`.
pub const KEY_TYPES: [(&str, &SignatureAlgorithm); 3] = [
    ("P-256", &PKCS_ECDSA_P256_SHA256),
    ("P-384", &PKCS_ECDSA_P384_SHA384),
    ("Ed25519", &PKCS_ED25519),
];
/// The name in a good client certificate.
pub const CLIENT: &str = "spiffe://example.org/ns/trading/sa/web";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long certificates and revocation lists are valid.
pub const VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A certificate authority: a root, or an intermediate.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificates up to the root's, without that one.
    chain: Vec<CertificateDer<'static>>,
}

/// A certificate, those between it and the root's, and its key.
#[derive(Clone)]
pub struct Leaf {
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate alone.
    pub pem: String,
    key: Arc<KeyPair>,
    serial: SerialNumber,
}

impl Authority {
    pub fn root(name: &str) -> Self {
        Self::root_from(authority(name))
    }

    /// A root whose certificate has expired.
    pub fn expired_root(name: &str) -> Self {
        let mut params = authority(name);
        expired(&mut params);
        Self::root_from(params)
    }

    fn root_from(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            chain: Vec::new(),
        }
    }

    /// An authority below this one, with a certificate that is changed before it is signed.
    pub fn intermediate(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap();
        let own = issuer.der().clone();
        let chain = [vec![own], self.chain.clone()].concat();
        Self { issuer, chain }
    }

    /// A server's certificate for this machine.
    pub fn server(&self, algorithm: &'static SignatureAlgorithm) -> Leaf {
        self.issue(server(), KeyPair::generate_for(algorithm).unwrap())
    }

    /// The same, until then.
    pub fn server_until(&self, end: SystemTime) -> Leaf {
        let mut params = server();
        params.not_after = end.into();
        self.issue(params, KeyPair::generate().unwrap())
    }

    /// A client's certificate with the name [`CLIENT`].
    pub fn client(&self) -> Leaf {
        self.client_with(|_| {})
    }

    /// The same with a key of that type.
    pub fn client_for(&self, algorithm: &'static SignatureAlgorithm) -> Leaf {
        self.issue(client(), KeyPair::generate_for(algorithm).unwrap())
    }

    /// The same, changed before it is signed.
    pub fn client_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = client();
        change(&mut params);
        self.issue(params, KeyPair::generate().unwrap())
    }

    /// Signs a certificate for the key.
    pub fn issue(&self, params: CertificateParams, key: KeyPair) -> Leaf {
        let mut leaf = Leaf::new(params, key, |params, key| {
            params.signed_by(key, &self.issuer)
        });
        leaf.chain.extend(self.chain.clone());
        leaf
    }

    /// Revokes the certificates by a list of that age.
    pub fn crl(&self, revoked: &[&Leaf], age: Duration) -> String {
        let issued = SystemTime::now() - age;
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: leaf.serial.clone(),
            revocation_time: issued.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: issued.into(),
            next_update: (issued + VALIDITY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }
}

impl Leaf {
    fn new(
        mut params: CertificateParams,
        key: KeyPair,
        sign: impl FnOnce(&CertificateParams, &KeyPair) -> Result<Certificate, rcgen::Error>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let serial = SerialNumber::from(NEXT.fetch_add(1, Ordering::Relaxed));
        params.serial_number = Some(serial.clone());
        let certificate = sign(&params, &key).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            key: Arc::new(key),
            pem: certificate.pem(),
            serial,
        }
    }

    fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::new(params, key, |params, key| params.self_signed(key))
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// Why a client must not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadClient {
    NoCertificate,
    OtherAuthority,
    SelfSigned,
    Expired,
    NotYetValid,
    Revoked,
    /// Its authority has no revocation list.
    WithoutRevocationList,
    ServerPurpose,
    AuthorityAsLeaf,
    MissingIntermediate,
    ExpiredIntermediate,
    OutsideNameConstraints,
}

impl BadClient {
    pub const ALL: [Self; 12] = [
        Self::NoCertificate,
        Self::OtherAuthority,
        Self::SelfSigned,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::WithoutRevocationList,
        Self::ServerPurpose,
        Self::AuthorityAsLeaf,
        Self::MissingIntermediate,
        Self::ExpiredIntermediate,
        Self::OutsideNameConstraints,
    ];

    /// How the gateway names the failure.
    pub fn result(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::OtherAuthority | Self::SelfSigned | Self::MissingIntermediate => "unknown_ca",
            Self::Expired | Self::ExpiredIntermediate => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::WithoutRevocationList => "unknown_revocation_status",
            Self::ServerPurpose => "wrong_purpose",
            Self::AuthorityAsLeaf | Self::OutsideNameConstraints => "bad_certificate",
        }
    }
}

/// The authorities of clients, what they have signed, and what they have revoked.
pub struct Clients {
    root: Authority,
    /// An intermediate, for names in `example.com` alone.
    constrained: Authority,
    without_list: Authority,
    revoked: Leaf,
}

impl Clients {
    pub fn new() -> Self {
        let root = Authority::root("clients");
        Self {
            revoked: root.client(),
            constrained: root.intermediate("clients of example.com", only_example_com),
            without_list: Authority::root("clients without a revocation list"),
            root,
        }
    }

    /// The root that has a revocation list.
    pub fn root(&self) -> &Authority {
        &self.root
    }

    /// For `--tls-client-ca`.
    pub fn authorities(&self) -> String {
        self.root.pem() + &self.without_list.pem()
    }

    /// For `--tls-client-crl`: the lists of the authorities that sign clients' certificates.
    pub fn revocation_lists(&self) -> String {
        let list = self.constrained.crl(&[], Duration::ZERO);
        self.root.crl(&[&self.revoked], Duration::ZERO) + &list
    }

    /// The certificate of a client with that DNS name, by an intermediate for `example.com`.
    pub fn by_intermediate(&self, name: &str) -> Leaf {
        self.constrained.client_with(|client| {
            client.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        })
    }

    /// The certificate of a client that must not get in; `None` for one without.
    pub fn bad(&self, kind: BadClient) -> Option<Leaf> {
        let root = &self.root;
        Some(match kind {
            BadClient::NoCertificate => return None,
            BadClient::OtherAuthority => Authority::root("others").client(),
            BadClient::SelfSigned => Leaf::self_signed(client()),
            BadClient::Expired => root.client_with(expired),
            BadClient::NotYetValid => root.client_with(|client| {
                client.not_before = (SystemTime::now() + DAY).into();
            }),
            BadClient::Revoked => self.revoked.clone(),
            BadClient::WithoutRevocationList => self.without_list.client(),
            BadClient::ServerPurpose => root.client_with(|client| {
                client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            BadClient::AuthorityAsLeaf => root.client_with(|client| {
                client.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            BadClient::MissingIntermediate => {
                let mut client = root.intermediate("clients 2", |_| {}).client();
                client.chain.truncate(1);
                client
            }
            BadClient::ExpiredIntermediate => root.intermediate("clients 3", expired).client(),
            BadClient::OutsideNameConstraints => self.by_intermediate("client.example.org"),
        })
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_before = (SystemTime::now() - VALIDITY).into();
    params.not_after = (SystemTime::now() - DAY).into();
}

fn only_example_com(params: &mut CertificateParams) {
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
        excluded_subtrees: Vec::new(),
    });
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server() -> CertificateParams {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let names = CertificateParams::new(names).unwrap().subject_alt_names;
    leaf("server", ExtendedKeyUsagePurpose::ServerAuth, names)
}

fn client() -> CertificateParams {
    let name = SanType::URI(CLIENT.try_into().unwrap());
    leaf("client", ExtendedKeyUsagePurpose::ClientAuth, vec![name])
}

fn leaf(name: &str, purpose: ExtendedKeyUsagePurpose, names: Vec<SanType>) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.subject_alt_names = names;
    params.use_authority_key_identifier_extension = true;
    params
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + VALIDITY).into();
    params
}
