//! `paychip vault`: the master keys, sealed in the data folder. No key is ever shown.

use serde_json::{Value, json};
use server::{MasterKeyView, Passphrase, SealedVault, VaultFault};

use crate::cli::{PassphraseArgs, VaultCommand};
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;

/// Leaves no copy of this process's memory on a disk when it dies, and lets no other process of this user read it.
pub(crate) fn forbid_memory_dumps() -> Result<(), Fault> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let failed = |error: rustix::io::Errno| Fault::internal(format!("core dumps cannot be turned off: {error}"));
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(failed)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    }
    Ok(())
}

/// A vault's fault as this program's.
pub(crate) fn told(fault: &VaultFault) -> Fault {
    Fault::new(fault.code(), fault.to_string())
}

pub(crate) fn run(
    place: &Place,
    command: &VaultCommand,
    passphrase: &PassphraseArgs,
    output: Output,
) -> Result<(), Fault> {
    forbid_memory_dumps()?;
    let given = match passphrase.passphrase()? {
        Some(given) => given,
        None => typed(output)?,
    };
    change(place, command, &given).map(|versions| tell(&versions, output)).map_err(|fault| told(&fault))
}

fn change(place: &Place, command: &VaultCommand, given: &Passphrase) -> Result<Vec<MasterKeyView>, VaultFault> {
    let open = || SealedVault::open(&place.data, given);
    let vault = match command {
        VaultCommand::Init => SealedVault::init(&place.data, given)?,
        VaultCommand::Seal => SealedVault::seal(&place.data, given)?,
        VaultCommand::Show => open()?,
        VaultCommand::Rotate { prepare: true } => changed(open()?, SealedVault::prepare)?,
        VaultCommand::Rotate { prepare: false } => changed(open()?, SealedVault::rotate)?,
        VaultCommand::Activate => changed(open()?, SealedVault::activate)?,
        VaultCommand::Retire { version } => changed(open()?, |vault| vault.retire(*version))?,
        VaultCommand::ChangePassphrase { new_passphrase_file } => {
            let new = Passphrase::File(new_passphrase_file.clone());
            changed(open()?, |vault| vault.change_passphrase(&new))?
        }
    };
    Ok(vault.versions())
}

fn changed(
    mut vault: SealedVault,
    change: impl FnOnce(&mut SealedVault) -> Result<(), VaultFault>,
) -> Result<SealedVault, VaultFault> {
    change(&mut vault)?;
    Ok(vault)
}

fn typed(output: Output) -> Result<Passphrase, Fault> {
    output.prompt("passphrase of the key vault (it is shown as you type; --passphrase-file does not)");
    let mut line = zeroize::Zeroizing::new(String::new());
    std::io::stdin().read_line(&mut line).map_err(|error| Fault::new("vault_passphrase_needed", error.to_string()))?;
    Passphrase::typed(&line).map_err(|fault| told(&fault))
}

fn tell(versions: &[MasterKeyView], output: Output) {
    let line = |key: &MasterKeyView| {
        let origin = if key.was_open { "  was once a development key in the open" } else { "" };
        format!(
            "  version {:<3} {:<9} check value {}{origin}",
            key.version,
            key.state.name(),
            hex::encode(key.check_value)
        )
    };
    let document = |key: &MasterKeyView| -> Value {
        json!({
            "version": key.version, "state": key.state.name(), "created_ms": key.created_ms,
            "was_open": key.was_open, "check_value": hex::encode(key.check_value),
        })
    };
    let lines: Vec<String> = versions.iter().map(line).collect();
    let documents: Vec<Value> = versions.iter().map(document).collect();
    output.answer(&format!("The master key:\n{}", lines.join("\n")), &json!({ "versions": documents }));
}
