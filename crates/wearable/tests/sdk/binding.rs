//! Binding through a phone that loses, repeats and cuts frames, and through reboots: it ends bound, every
//! command of a session has reached the chip at most once, and the percentage never lies.

use proptest::prelude::*;
use protocol::apdu::StatusWord;
use protocol::applet::{self, DataObject, ins};
use protocol::link::{Fragments, Reassembler, Received, resend_request};
use protocol::script::{Message, Outcome, ScriptWriter, SessionId};
use wearable::{Error, Lifecycle, Offer, Progress, Wearable};

use crate::device::{Bench, CHIP_ID, bench, started};

/// What happens to one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Lost,
    Repeated,
    Cut,
    Changed,
    LinkLost,
}
const FAULTS: [Fault; 5] = [Fault::Lost, Fault::Repeated, Fault::Cut, Fault::Changed, Fault::LinkLost];

/// The phone with the cloud behind it: sends one script after the other, asks again, begins anew.
struct Phone {
    session: u8,
    script: u16,
    number: u8,
    message: Vec<u8>,
    inbox: Reassembler<2048>,
    to_device: Vec<Vec<u8>>,
    frames: usize,
    fault: Option<(usize, Fault)>,
    quiet: u32,
    outcomes: u32,
}

impl Phone {
    fn new(fault: Option<(usize, Fault)>) -> Self {
        let mut phone = Self {
            session: 0,
            script: 0,
            number: 0,
            message: Vec::new(),
            inbox: Reassembler::new(),
            to_device: Vec::new(),
            frames: 0,
            fault,
            quiet: 0,
            outcomes: 0,
        };
        phone.new_session();
        phone
    }

    fn id(&self) -> SessionId {
        SessionId([self.session; 16])
    }

    fn new_session(&mut self) {
        (self.session, self.script) = (self.session + 1, 0);
        self.next_script();
    }

    /// Open the channel; bind; look.
    fn next_script(&mut self) {
        self.script += 1;
        let mut buffer = [0; 2048];
        let percent = [30, 70, 90][usize::from(self.script) - 1];
        let mut script = ScriptWriter::new(&mut buffer, self.id(), self.script, percent).unwrap();
        let mut push = |command: protocol::apdu::Command<'_>| {
            script.push(command.encode(&mut [0; 300]).unwrap(), false).unwrap();
        };
        let order = [&[0xE1][..], &[0xAA; 180]].concat();
        match self.script {
            1 => {
                push(applet::select());
                push(applet::initialize_update(0, &[7; 8]));
            }
            2 => {
                push(protocol::apdu::Command::new(0x84, ins::EXTERNAL_AUTHENTICATE, 0x33, 0).with_data(&[9; 16]));
                // Sealed as the channel seals it, as far as anybody without keys can see.
                push(protocol::apdu::Command::new(0x84, ins::STORE_DATA, 0x80, 0).with_data(&order));
            }
            _ => push(DataObject::Status.command()),
        }
        self.message = script.finish().unwrap().to_vec();
        self.number = self.number.wrapping_add(1);
        self.send();
    }

    fn send(&mut self) {
        let mut fragments = Fragments::new(&self.message, self.number, 20).unwrap();
        let mut buffer = [0; 512];
        while let Some(frame) = fragments.next_frame(&mut buffer).unwrap() {
            self.to_device.push(frame.to_vec());
        }
        self.quiet = 0;
    }

    fn outcome(&mut self) {
        let outcome = Outcome::Done { session: self.id(), account_label: "138****0001" };
        self.message = outcome.encode(&mut [0; 128]).unwrap().to_vec();
        self.number = self.number.wrapping_add(1);
        self.outcomes += 1;
        self.send();
    }

    /// What becomes of a frame on its way.
    fn carry(&mut self, frame: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let at = self.frames;
        self.frames += 1;
        match self.fault {
            Some((hit, fault)) if hit == at => match fault {
                Fault::Lost => (vec![], false),
                Fault::Repeated => (vec![frame.to_vec(), frame.to_vec()], false),
                Fault::Cut => (vec![frame[..frame.len() / 2].to_vec()], false),
                Fault::Changed => {
                    let mut changed = frame.to_vec();
                    changed[frame.len() - 1] ^= 0x40;
                    (vec![changed], false)
                }
                Fault::LinkLost => (vec![], true),
            },
            _ => (vec![frame.to_vec()], false),
        }
    }

    fn receive(&mut self, frame: &[u8]) {
        let bytes = match self.inbox.accept(frame) {
            Ok(Received::Incomplete) => return,
            Ok(Received::ResendRequested { number }) if number == self.number => return self.send(),
            Ok(Received::ResendRequested { .. }) => return,
            Ok(Received::Message { bytes, .. }) => bytes.to_vec(),
            Err(_) => return self.to_device.push(resend_request(frame.first().copied().unwrap_or(0)).to_vec()),
        };
        let Ok(Message::Results(results)) = Message::decode(&bytes) else {
            panic!("the wearable sends results only");
        };
        if (results.session, results.number) != (self.id(), self.script) || self.outcomes > 0 {
            return;
        }
        let asked = [2, 2, 1][usize::from(self.script) - 1];
        let fine = results.len() == asked && results.responses().all(|a| a.is_some_and(|a| a.ends_with(&[0x90, 0])));
        match (fine, self.script) {
            (false, _) => self.new_session(),
            (true, 3) => self.outcome(),
            (true, _) => self.next_script(),
        }
    }

    /// One moment: frames in, one poll, frames out, patience.
    fn moment(&mut self, wearable: &mut Wearable<Bench>) {
        for frame in std::mem::take(&mut self.to_device) {
            let (frames, link_lost) = self.carry(&frame);
            frames.iter().for_each(|frame| wearable.on_link_data(frame));
            if link_lost {
                // The rest of what was under way is lost as well.
                self.to_device.clear();
                self.inbox.reset();
                wearable.on_link_lost();
                break;
            }
        }
        wearable.poll().unwrap();
        for frame in std::mem::take(&mut wearable.host_mut().sent) {
            let (frames, link_lost) = self.carry(&frame);
            frames.iter().for_each(|frame| self.receive(frame));
            if link_lost {
                self.inbox.reset();
                wearable.on_link_lost();
                break;
            }
        }
        self.quiet += 1;
        match self.quiet {
            5 | 10 | 15 => {
                let quiet = self.quiet;
                self.send();
                self.quiet = quiet;
            }
            20 if self.outcomes == 0 => self.new_session(),
            _ => {}
        }
    }
}

fn unbound() -> Wearable<Bench> {
    let mut device = bench();
    device.chip.lifecycle = Lifecycle::Ready;
    started(device)
}

/// Runs until the wearable says it is done; gives what the phone saw.
fn bind(wearable: &mut Wearable<Bench>, fault: Option<(usize, Fault)>) -> Phone {
    let mut phone = Phone::new(fault);
    let mut highest = 0;
    for _ in 0..200 {
        phone.moment(wearable);
        let percent = wearable.progress().percent();
        assert!(percent >= highest || phone.session > 1, "progress fell from {highest} to {percent}");
        highest = percent;
        if wearable.progress() == Progress::Done {
            return phone;
        }
    }
    panic!("not bound after 200 moments with {fault:?}");
}

fn count(wearable: &Wearable<Bench>, instruction: u8) -> usize {
    wearable.host().chip.commands.iter().filter(|command| command[1] == instruction).count()
}

#[test]
fn binding_goes_from_offer_to_bound_through_the_known_percentages() {
    let mut wearable = unbound();
    let offer = wearable.binding_offer().unwrap();
    assert_eq!((offer.as_str().len(), offer.chip_id()), (58, CHIP_ID));
    assert_eq!(Offer::parse(offer.as_str()), Ok(offer));
    let mut phone = Phone::new(None);
    let mut seen = vec![wearable.progress().percent()];
    let first = phone.to_device.remove(0);
    wearable.on_link_data(&first);
    seen.push(wearable.progress().percent());
    while wearable.progress() != Progress::Done {
        phone.moment(&mut wearable);
        seen.push(wearable.progress().percent());
    }
    seen.dedup();
    assert_eq!(seen, [0, 10, 30, 70, 90, 100]);
    let status = wearable.status().unwrap();
    assert!(status.is_bound());
    assert_eq!(status.account(), "138****0001");
}

#[test]
fn a_chip_that_holds_its_channel_back_is_asked_for_an_offer_again_and_not_for_ever() {
    let mut device = bench();
    device.chip.held_back = 32;
    started(device).binding_offer().unwrap();
    let mut device = bench();
    device.chip.held_back = 200;
    let mut wearable = started(device);
    assert_eq!(wearable.binding_offer().err(), Some(Error::Refused(StatusWord::CHANNEL_HELD_BACK)));
    assert_eq!(wearable.host().chip.held_back, 160);
}

#[test]
fn every_offer_is_another_one_even_after_a_reboot_with_a_clock_that_stands() {
    let mut wearable = unbound();
    let mut nonces = Vec::new();
    for _ in 0..4 {
        nonces.extend([wearable.binding_offer().unwrap().nonce(), wearable.binding_offer().unwrap().nonce()]);
        let mut device = bench();
        std::mem::swap(&mut device, wearable.host_mut());
        device.chip.selected = false;
        wearable = started(device);
    }
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 8);
}

#[test]
fn one_poll_runs_at_most_one_command() {
    let mut wearable = unbound();
    let mut phone = Phone::new(None);
    while wearable.progress() != Progress::Done {
        let before = wearable.host().chip.commands.len();
        phone.moment(&mut wearable);
        assert!(wearable.host().chip.commands.len() <= before + 1);
    }
}

#[test]
fn a_fault_at_any_frame_is_overcome_and_no_command_runs_twice_in_a_session() {
    let clean = bind(&mut unbound(), None).frames;
    assert!(clean > 30, "every frame of {clean} is attacked");
    for fault in FAULTS {
        for at in 0..clean {
            let mut wearable = unbound();
            let phone = bind(&mut wearable, Some((at, fault)));
            let sessions = usize::from(phone.session);
            assert!(wearable.status().unwrap().is_bound(), "{fault:?} at {at}");
            assert!(count(&wearable, ins::STORE_DATA) <= sessions, "{fault:?} at {at}");
            assert!(count(&wearable, ins::EXTERNAL_AUTHENTICATE) <= sessions, "{fault:?} at {at}");
            assert_eq!(sessions, 1, "{fault:?} at {at}: resumed, not begun anew");
        }
    }
}

#[test]
fn a_reboot_at_any_moment_is_overcome() {
    let mut moments = 0;
    loop {
        let mut wearable = unbound();
        let mut phone = Phone::new(None);
        for _ in 0..moments {
            phone.moment(&mut wearable);
        }
        if wearable.progress() == Progress::Done {
            assert!(moments > 4, "five commands take five moments");
            return;
        }
        let percent = wearable.progress().percent();
        let mut device = bench();
        std::mem::swap(&mut device, wearable.host_mut());
        (device.chip.selected, device.chip.channel) = (false, false);
        let mut wearable = started(device);
        assert_eq!(wearable.progress().percent(), percent, "the screen shows what it showed");
        for _ in 0..200 {
            if wearable.progress() != Progress::Done {
                phone.moment(&mut wearable);
            }
        }
        assert_eq!(wearable.progress(), Progress::Done, "rebooted after {moments} moments");
        assert!(wearable.status().unwrap().is_bound());
        moments += 1;
    }
}

#[test]
fn a_silent_chip_stops_the_script_and_the_cloud_sees_where() {
    let mut wearable = unbound();
    let mut phone = Phone::new(None);
    for _ in 0..2 {
        phone.moment(&mut wearable);
    }
    wearable.host_mut().chip.silent = true;
    for _ in 0..3 {
        phone.moment(&mut wearable);
    }
    assert!(phone.session > 1, "the cloud began anew");
    let device = wearable.host_mut();
    (device.chip.silent, device.chip.selected) = (false, false);
    for _ in 0..100 {
        phone.moment(&mut wearable);
    }
    assert_eq!(wearable.progress(), Progress::Done);
}

#[test]
fn a_full_queue_loses_nothing() {
    let mut wearable = unbound();
    let mut phone = Phone::new(None);
    for _ in 0..3 {
        phone.to_device.drain(..).for_each(|frame| wearable.on_link_data(&frame));
        wearable.host_mut().link_full = true;
        while wearable.poll().is_ok() {}
        assert_eq!(wearable.poll(), Err(Error::LinkDown));
        wearable.host_mut().link_full = false;
        phone.moment(&mut wearable);
    }
    for _ in 0..20 {
        phone.moment(&mut wearable);
    }
    assert_eq!((wearable.progress(), phone.session), (Progress::Done, 1));
}

#[test]
fn a_failure_is_told_with_its_code_and_a_foreign_outcome_is_not() {
    let mut wearable = unbound();
    let mut phone = Phone::new(None);
    for _ in 0..4 {
        phone.moment(&mut wearable);
    }
    let send = |wearable: &mut Wearable<Bench>, session: u8| {
        let outcome = Outcome::Failed { session: SessionId([session; 16]), code: "account_closed" };
        let mut buffer = [0; 128];
        let message = outcome.encode(&mut buffer).unwrap();
        let mut fragments = Fragments::new(message, 77, 20).unwrap();
        while let Some(frame) = fragments.next_frame(&mut [0; 20]).unwrap() {
            wearable.on_link_data(frame);
        }
    };
    send(&mut wearable, 99);
    assert!(matches!(wearable.progress(), Progress::Working { .. }));
    send(&mut wearable, 1);
    assert_eq!((wearable.progress(), wearable.failure_code()), (Progress::Failed, "account_closed"));
    let mut device = bench();
    std::mem::swap(&mut device, wearable.host_mut());
    assert_eq!(started(device).progress(), Progress::Idle, "a reboot shows nothing of it");
}

#[test]
fn giving_up_forgets_the_work_and_leaves_the_chip_alone() {
    let mut wearable = unbound();
    let mut phone = Phone::new(None);
    for _ in 0..4 {
        phone.moment(&mut wearable);
    }
    let commands = wearable.host().chip.commands.len();
    wearable.cancel_binding();
    assert_eq!(wearable.poll(), Ok(Progress::Idle));
    assert_eq!(wearable.host().chip.commands.len(), commands);
}

#[test]
fn an_unbinding_wearable_locks_offers_and_is_unbound_by_the_cloud() {
    let mut wearable = started(bench());
    wearable.set_first_passcode("2468").unwrap();
    wearable.unlock("2468").unwrap();
    let offer = wearable.unbind().unwrap();
    assert_eq!(offer.chip_id(), CHIP_ID);
    assert!(!wearable.host().chip.open);
    assert_eq!(wearable.progress(), Progress::Offered);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_from_the_link_are_survived(
        frames in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..64)), 1..40),
    ) {
        let mut wearable = unbound();
        for (poll, frame) in &frames {
            wearable.on_link_data(frame);
            if *poll {
                wearable.poll().unwrap();
            }
        }
        // Afterwards it works as if nothing had been.
        wearable.host_mut().sent.clear();
        bind(&mut wearable, None);
    }

    #[test]
    fn any_message_in_good_frames_is_survived(
        mut message in prop::collection::vec(any::<u8>(), 1..300), kind in 0u8..4,
    ) {
        // Most random bytes are refused at the first; a good head leads further in.
        message.iter_mut().zip([1, kind]).for_each(|(to, from)| *to = from);
        survive(&message);
    }

    #[test]
    fn any_script_is_survived(
        commands in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..120)), 1..=16),
        percent in 0u8..=100,
    ) {
        let mut buffer = [0; 2048];
        let mut script = ScriptWriter::new(&mut buffer, SessionId([3; 16]), 1, percent).unwrap();
        for (go_on, command) in &commands {
            script.push(command, *go_on).unwrap_or(());
        }
        survive(script.finish().unwrap());
    }
}

fn survive(message: &[u8]) {
    let mut wearable = unbound();
    let mut fragments = Fragments::new(message, 1, 20).unwrap();
    while let Some(frame) = fragments.next_frame(&mut [0; 20]).unwrap() {
        wearable.on_link_data(frame);
    }
    for _ in 0..20 {
        wearable.poll().unwrap();
    }
    assert!(wearable.progress().percent() <= 99);
}
