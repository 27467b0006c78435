//! OpenSSL and this crate agree: chains and lists that it makes are taken here, and it takes those made here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;
use std::process::Command;

use pki::{Certificate, Fault, RevocationList, Scheme, verify_chain};
use support::{Maker, NOW_S};

fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn certificate(folder: &Path, name: &str) -> Certificate {
    Certificate::from_file(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

const CONFIGURATION: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ncrlnumber=crlnumber\ndefault_crl_days=7\n\
    [root]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n\
    [issuing]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign,digitalSignature\n\
    [odd]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,clientAuth\n\
    [plain]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n\
    [chip]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n";

#[test]
fn what_openssl_makes_is_taken_here() {
    let id = "distid:1234567812345678";
    for (curve, hash, with) in [("prime256v1", "-sha256", &[][..]), ("SM2", "-sm3", &["-sigopt", id, "-vfyopt", id])] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::write(at.join("c"), CONFIGURATION).unwrap();
        let sign_only = &with[..with.len().min(2)];
        let curve = format!("ec_paramgen_curve:{curve}");
        for name in ["root", "issuing", "chip"] {
            openssl(
                at,
                &[
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    &curve,
                    "-pkeyopt",
                    "ec_param_enc:named_curve",
                    "-out",
                    &format!("{name}.key"),
                ],
            );
        }
        for (name, issuer) in [("root", "root"), ("issuing", "root"), ("chip", "issuing")] {
            let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
            let subject = format!("/O=Alpha/OU=M1/CN={name}");
            openssl(
                at,
                &[&["req", "-new", "-key", &key, hash, "-subj", &subject, "-out", &request][..], sign_only].concat(),
            );
            let (issuer_pem, issuer_key, out) =
                (format!("{issuer}.pem"), format!("{issuer}.key"), format!("{name}.pem"));
            let by: Vec<&str> =
                if name == issuer { vec!["-signkey", &key] } else { vec!["-CA", &issuer_pem, "-CAkey", &issuer_key] };
            let asked = [
                "x509",
                "-req",
                "-in",
                &request,
                hash,
                "-days",
                "30",
                "-extfile",
                "c",
                "-extensions",
                name,
                "-out",
                &out,
            ];
            openssl(at, &[&asked[..], &by, with].concat());
        }
        let root = certificate(at, "root.pem");
        let issuing = certificate(at, "issuing.pem");
        let chain = [certificate(at, "chip.pem"), issuing.clone()];
        assert_eq!(verify_chain(&chain, &root, now_s()), Ok(()));
        assert_eq!(root.check_is_root(now_s()), Ok(()));
        assert_eq!(verify_chain(&chain, &root, now_s() + 31 * 86_400), Err(Fault::Expired));

        std::fs::write(
            at.join("index"),
            format!("R\t390101000000Z\t251101000000Z\t{}\tunknown\t/CN=chip\n", hex(chain[0].serial())),
        )
        .unwrap();
        std::fs::write(at.join("crlnumber"), "01\n").unwrap();
        let asked = [
            "ca",
            "-config",
            "c",
            "-gencrl",
            "-cert",
            "issuing.pem",
            "-keyfile",
            "issuing.key",
            "-md",
            &hash[1..],
            "-out",
            "list.pem",
        ];
        openssl(at, &[&asked[..], sign_only].concat());
        openssl(at, &["crl", "-in", "list.pem", "-outform", "DER", "-out", "list.der"]);
        let list = RevocationList::verify(&std::fs::read(at.join("list.der")).unwrap(), &issuing, now_s()).unwrap();
        assert_eq!(list.revoked, [chain[0].serial()]);
        assert_eq!(list.number, 1);
        let pem = std::fs::read(at.join("list.pem")).unwrap();
        assert_eq!(RevocationList::der_of_file(&pem).unwrap(), std::fs::read(at.join("list.der")).unwrap());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn openssl_takes_what_is_made_here() {
    for scheme in Scheme::ALL {
        let maker = Maker::new(scheme, "Alpha", 1);
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let chip = maker.chip("00ff", 9);
        for (name, one) in [("root.pem", &maker.root), ("issuing.pem", &maker.issuing.certificate), ("chip.pem", &chip)]
        {
            std::fs::write(at.join(name), one.pem().unwrap()).unwrap();
        }
        let now = NOW_S.to_string();
        let with: &[&str] = if scheme == Scheme::Sm2 { &["-vfyopt", "distid:1234567812345678"] } else { &[] };
        // One link at a time: for SM2 this tool gives the identifier to the certificate it is asked about only.
        for (one, issuer) in [("chip.pem", "issuing.pem"), ("issuing.pem", "root.pem")] {
            let asked = ["verify", "-attime", &now, "-partial_chain", "-trusted", issuer];
            let said = openssl(at, &[&asked[..], with, &[one]].concat());
            assert!(said.contains(&format!("{one}: OK")), "{said}");
        }
        let list = maker.issuing.revoke(3, &[&[9]], NOW_S, NOW_S + 86_400).unwrap();
        std::fs::write(at.join("list.der"), list).unwrap();
        let text = openssl(at, &["crl", "-inform", "DER", "-in", "list.der", "-noout", "-text"]);
        assert!(text.contains("Serial Number: 09"), "{text}");
    }
}

#[test]
fn a_critical_extension_that_is_not_understood_is_refused_and_another_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("c"), CONFIGURATION).unwrap();
    openssl(at, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", "key"]);
    openssl(at, &["req", "-new", "-key", "key", "-sha256", "-subj", "/O=Alpha/CN=x", "-out", "request"]);
    let read = |section: &str| {
        let asked = ["x509", "-req", "-in", "request", "-signkey", "key", "-sha256", "-days", "30"];
        openssl(at, &[&asked[..], &["-extfile", "c", "-extensions", section, "-out", "made.pem"]].concat());
        Certificate::from_file(&std::fs::read(at.join("made.pem")).unwrap()).map(drop)
    };
    assert_eq!(read("odd"), Err(Fault::Malformed));
    assert_eq!(read("plain"), Ok(()));
}
