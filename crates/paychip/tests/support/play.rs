//! Makers, their factories and their shipments, played with the real program.

use serde_json::Value;

use super::Cloud;

/// The code of an answer that is an error.
pub fn error_code(answer: Result<Value, Value>) -> String {
    answer.unwrap_err()["error"]["code"].as_str().unwrap().to_owned()
}

/// A text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A cloud, and the folder of everything around it.
pub struct Play {
    pub folder: tempfile::TempDir,
    pub cloud: Cloud,
}

impl Play {
    pub fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(&folder.path().join("data"));
        Self { folder, cloud }
    }

    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn run(&self, arguments: &[&str]) -> Result<Value, Value> {
        self.cloud.run(arguments)
    }

    /// A maker with a factory, known to the operator, with one chip model.
    pub fn take_on(&self, code: &str, name: &str, scheme: &str) {
        let house = self.run(&["factory", "new", code, "--name", name, "--scheme", scheme]).unwrap();
        self.run(&["maker", "new", code, name, "--root", &text(&house["root"])]).unwrap();
        self.run(&["maker", "chip-model", code, "SE-1", "--applet", "0.1.0", "--applet", "0.2.0"]).unwrap();
    }

    /// A batch for a maker's factory, in a file.
    pub fn batch(&self, code: &str) -> String {
        let house = self.run(&["factory", "show", code]).unwrap();
        let file = self.file(&format!("{code}.batch"));
        self.run(&["vendor", "batch", code, "--factory-key", &text(&house["factory_key"]), "--out", &file]).unwrap();
        file
    }

    /// Makes a shipment; its manifest.
    pub fn ship(&self, code: &str, number: &str, count: &str, more: &[&str]) -> String {
        let (batch, manifest) = (self.batch(code), self.file(&format!("{code}-{number}.manifest")));
        let arguments =
            ["factory", "run", code, "--batch", &batch, "--count", count, "--shipment", number, "--out", &manifest];
        self.run(&[&arguments[..], more].concat()).unwrap();
        manifest
    }

    pub fn watch(&self, name: &str, arguments: &[&str]) -> Result<Value, Value> {
        self.run(&[&["watch", "--watch", name], arguments].concat())
    }
}
