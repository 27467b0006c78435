//! A PKCS#11 token for tests: SoftHSM 2, with a folder of its own. It finds its folder by an environment variable, so that
//! only programs which a test starts can use it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Where distributions put the library.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// Long enough that no row of digits is it by chance.
pub const PIN: &str = "8529063147201859";
pub const LABEL: &str = "paychip test";

/// A folder with tokens.
pub struct SoftHsm {
    folder: TempDir,
    pub module: &'static str,
}

impl SoftHsm {
    /// One token in a new folder; `None`, said by name, where SoftHSM is not installed.
    pub fn start() -> Option<Self> {
        let module = MODULES.into_iter().find(|path| Path::new(path).exists());
        let has_tool = Command::new("softhsm2-util").arg("--version").output().is_ok();
        let Some(module) = module.filter(|_| has_tool) else {
            let required = std::env::var_os("PAYCHIP_REQUIRE_SOFTHSM").is_some();
            assert!(!required, "missing: SoftHSM (Debian: softhsm2)");
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            // Past the test harness, which would swallow it.
            let line = format!("skipped: SoftHSM (Debian: softhsm2), wanted by {test}\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tokens")).unwrap();
        let settings = format!("directories.tokendir = {}/tokens\nlog.level = ERROR\n", folder.path().display());
        fs::write(folder.path().join("softhsm2.conf"), settings).unwrap();
        let hsm = Self { folder, module };
        hsm.secret("pin", PIN);
        hsm.new_token(LABEL);
        Some(hsm)
    }

    /// One more token.
    pub fn new_token(&self, label: &str) {
        let arguments = ["--init-token", "--free", "--label", label, "--so-pin", "73418256", "--pin", PIN];
        let made = self.give(Command::new("softhsm2-util").args(arguments)).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    /// The serial numbers of all tokens.
    pub fn serials(&self) -> Vec<String> {
        let shown = self.give(Command::new("softhsm2-util").arg("--show-slots")).output().unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        let serials = text.lines().filter_map(|line| line.trim().strip_prefix("Serial number:"));
        serials.map(|serial| serial.trim().to_owned()).filter(|serial| !serial.is_empty()).collect()
    }

    /// A file that only its owner may read.
    pub fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn pin_file(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    /// The token's URI.
    pub fn uri(&self) -> String {
        format!("pkcs11:token={}?module-path={}", LABEL.replace(' ', "%20"), self.module)
    }

    /// Lets a command find the tokens, as the environment of an operator's service does.
    pub fn give<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("SOFTHSM2_CONF", self.folder.path().join("softhsm2.conf"))
    }

    /// The program, with this token and its PIN.
    pub fn program(&self) -> Command {
        let mut command = super::program();
        self.give(&mut command).env("PAYCHIP_VAULT", self.uri()).env("PAYCHIP_PIN_FILE", self.pin_file());
        command
    }

    /// Takes every token away, as a cable does.
    pub fn unplug(&self) {
        fs::rename(self.folder.path().join("tokens"), self.folder.path().join("unplugged")).unwrap();
    }

    /// Brings them back.
    pub fn plug_in(&self) {
        fs::rename(self.folder.path().join("unplugged"), self.folder.path().join("tokens")).unwrap();
    }
}
