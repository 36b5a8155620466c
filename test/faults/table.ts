/**
 * Lists every fault that the system promises to survive, with its target and the tests that show it on real processes.
 * A fault without a test or a reason is marked, so that an untested promise does not look like a kept one.
 */

export type FaultNumber = `F${number}`

export interface FaultCase {
  number: FaultNumber
  fault: string
  /** The target figure. */
  asked: string
  /** Test files that show it, each with words of its test titles, separated by `|`, unless all its tests apply. */
  shownBy?: readonly { file: string; tests?: string }[]
  /** What the tests show, apart from the figures that they write themselves. */
  reached?: string
  /** Where the tests show less than the target. */
  weaker?: string
  /** Why the fault cannot be injected on the test machine. */
  cannot?: string
}

const release = 'test/faults/long/processes/release.test.ts'
const watcher = 'test/faults/long/processes/watcher.test.ts'
const server = 'test/api/server.test.ts'
const log = 'test/api/serving/log/prediction-log.test.ts'
const routing = 'test/api/serving/routing/routing.test.ts'
const fleet = 'test/faults/fleet.test.ts'

export const faults: readonly FaultCase[] = [
  {
    number: 'F1',
    fault: 'worker killed in training, 50 random points',
    asked: 'resume ≤ 15 s; ≤ 1 checkpoint lost; 50/50',
    shownBy: [
      { file: 'test/faults/long/processes/training-kills.test.ts' },
      { file: 'test/workflows/retrain/killed-worker.test.ts' },
    ],
    weaker: '12 points; 50 with TENURE_TEST_POINTS=50, in about five minutes',
  },
  {
    number: 'F2',
    fault: 'worker killed mid-canary, none returns',
    asked: '0 candidate answers after lease + 1 s; on return no stage skipped, no window shortened',
    shownBy: [{ file: release, tests: 'a watcher that is killed' }],
  },
  {
    number: 'F3',
    fault: 'worker killed during rollback, every history event',
    asked: '100 % of points; ≤ 25 s extra',
    shownBy: [{ file: 'test/faults/crash.test.ts' }],
    reached: 'a sample here; every point by npm run bench -- crash (packages/lab/faults/faults.md)',
  },
  {
    number: 'F4',
    fault: 'worker frozen beyond its lease, then writes',
    asked: '100/100, audited as fenced',
    shownBy: [
      { file: release, tests: 'a frozen watcher' },
      { file: watcher, tests: 'a frozen watcher' },
      { file: 'test/store/serving/routing.test.ts', tests: 'compare-and-set' },
    ],
    reached:
      'a frozen worker adds no exposure, and is audited as fenced; 1,000 of 1,000 late writes refused by compare-and-set',
  },
  {
    number: 'F5',
    fault: 'training out of memory',
    asked: '≤ 3 tries, then a clean failure with the reason; API p99 ≤ +20 %; never stuck',
    shownBy: [
      { file: 'test/faults/long/resources/out-of-memory.test.ts' },
      { file: 'test/activities/runtime/memory-limit.test.ts' },
    ],
    weaker: 'the p99 is reported without a limit: trainer and replica share two cores',
  },
  {
    number: 'F6',
    fault: 'replica killed at 2× peak, 20 times',
    asked: '60 s availability ≥ 99.9 %; ready again ≤ 3 s',
    shownBy: [
      { file: fleet, tests: 'a kill fails no request' },
      { file: release, tests: 'of an API replica' },
    ],
    reached:
      'only what was in flight is lost; at twice the peak 63 requests a kill, ready again in 1.6 s (packages/lab/fleet/fleet.md)',
    weaker: 'two kills here, five at twice the peak; twenty by npm run bench -- fleet kills',
  },
  {
    number: 'F7',
    fault: 'rolling restart under load, 3 rounds',
    asked: '0 of ≥ 100,000 fail',
    shownBy: [{ file: fleet, tests: 'a rolling restart' }],
    reached: 'no request fails; at length by npm run bench -- fleet',
  },
  {
    number: 'F8',
    fault: 'replica cold start, Postgres and Temporal dead',
    asked: 'ready ≤ 5 s, marked stale; without cache 503, never garbage',
    shownBy: [
      { file: server, tests: 'starts from its disk' },
      { file: routing, tests: 'disk' },
      { file: 'test/api/serving/routing/disk-cache.test.ts' },
    ],
    reached:
      'starts from a signed cache, marked as stale; a cache of another key is refused; without one 503',
  },
  {
    number: 'F9',
    fault: 'Postgres restart, kill -9 of all',
    asked: 'predictions p99 ≤ +10 %; control routes 503 ≤ 1 s; back ≤ 2 s; log equation exact',
    shownBy: [
      { file: release, tests: 'of Postgres' },
      { file: server, tests: 'starts from its disk' },
      { file: log, tests: 'killed three times' },
      { file: 'test/api/serving/log/process-kills.test.ts' },
    ],
    reached: 'no request fails, the release continues, no row is lost or stored twice',
  },
  {
    number: 'F10',
    fault: 'one backend killed',
    asked: 'no process exits',
    shownBy: [{ file: 'test/store/postgres.test.ts' }],
    reached: 'also between two statements of a transaction',
  },
  {
    number: 'F11',
    fault: 'Postgres disk full',
    asked: 'alert ≤ 10 s; healthy ≤ 30 s after space; audit chain intact',
    shownBy: [
      { file: 'test/faults/long/resources/disk-full.test.ts' },
      { file: 'test/api/serving/log/full-disk.test.ts', tests: 'of Postgres' },
    ],
    reached:
      'a command returns 503 and names the full disk, /readyz and a metric report it; predictions continue',
    weaker:
      'when not even its own log could grow, 62 predictions were not answered in one run on a machine at ten times its load; whether for the load or for the disk was not found out',
  },
  {
    number: 'F12',
    fault: 'Postgres slow (2 s) or frozen',
    asked: 'predict p99 ≤ +10 %; every database call ends ≤ 1 s',
    shownBy: [
      { file: server, tests: 'frozen' },
      { file: log, tests: 'frozen' },
      { file: 'test/store/postgres.test.ts', tests: 'frozen' },
      { file: 'test/api/routes/frozen-servers.test.ts', tests: 'both' },
    ],
    reached: 'no prediction waits; every call of a control route ends at its deadline of 0.9 s',
    weaker:
      'a page may ask three times; the log of predictions gives up after 2 s, a worker or a command after up to 10 s',
  },
  {
    number: 'F13',
    fault: 'connections exhausted',
    asked: 'Σ pools ≤ 80 % of max_connections, checked at start',
    shownBy: [
      { file: 'test/faults/connections.test.ts' },
      { file: 'test/store/database/connection-budget.test.ts' },
    ],
    reached: 'a process that starts by itself counts those that are connected, and at least one of each kind',
  },
  {
    number: 'F14',
    fault: 'Temporal restart, kill -9',
    asked: '0 of 100 running releases lost; resume ≤ 30 s',
    shownBy: [
      { file: release, tests: 'of Temporal' },
      { file: 'packages/embedded/test/servers.test.ts', tests: 'kill -9' },
    ],
    reached: 'a canary is promoted and no request fails',
    weaker: 'one running release in the place of 100',
  },
  {
    number: 'F15',
    fault: 'Temporal down 10 min',
    asked: 'candidates withdrawn; API ≤ 1 s; approvals delivered ≤ 5 s after return, once',
    shownBy: [
      { file: 'test/faults/long/network/temporal-outage.test.ts' },
      { file: 'test/faults/long/network/command-outbox.test.ts' },
      { file: 'test/api/services/deferred-commands.test.ts' },
      { file: 'test/api/services/deferred-starts.test.ts' },
      { file: watcher, tests: 'a frozen Temporal' },
    ],
    weaker:
      '20 s instead of 10 min, which TENURE_TEST_AWAY_S=600 is; a drill, an erasure and the ingestion of a feature view return 503',
  },
  {
    number: 'F16',
    fault: 'both down 10 min',
    asked: '≥ 99.99 %, p99 ≤ +10 %, RSS ≤ +200 MB',
    shownBy: [{ file: 'test/faults/outage.test.ts' }],
    reached:
      'killed or frozen: no prediction fails, no row is lost uncounted; ten minutes by npm run bench -- outage (packages/lab/outage/outage.md)',
  },
  {
    number: 'F17',
    fault: 'one replica cut from Postgres, two-way and one-way',
    asked: 'drops the candidate ≤ lease + 1 s; converges ≤ 2 s after healing',
    shownBy: [
      { file: 'test/faults/long/network/cut-off-replica.test.ts' },
      { file: routing, tests: 'is not renewed|lost its lease' },
    ],
    reached: 'answers with the champion meanwhile; never with a version that was rolled back meanwhile',
    weaker:
      'the link is frozen by a proxy, which closes no connection; the worst but one of four times counts for 2 s',
  },
  {
    number: 'F18',
    fault: 'replica cut or frozen across a rollback',
    asked: 'the rolled-back version after the acknowledgement: 0 of ≥ 1,000,000',
    shownBy: [{ file: fleet, tests: 'after its rollback|the check' }],
    reached: 'no answer in the short run; at length by npm run bench -- fleet',
  },
  {
    number: 'F19',
    fault: 'clock skew ±5 min, ±1 h, ±1 day, step back',
    asked: '0 violations',
    shownBy: [
      { file: 'test/faults/long/network/clock-skew.test.ts' },
      { file: 'test/api/services/rollback/database-clock.test.ts' },
      { file: routing, tests: 'no exposure grows' },
      { file: 'test/store/release/releases.test.ts', tests: 'continues when the clock' },
      { file: 'test/api/auth/key-use.test.ts', tests: 'by the time of the database' },
    ],
    reached:
      'keys, sessions, moments and commands mean the same at every replica; no window is shortened, no lease prolonged',
    weaker:
      'the clock of Temporal, a Go program, stays; a replica that starts without Postgres goes by its own until it has read it once; while the clock of Postgres is set back, a key that expired within that time works again, after 4 s at most (a revoked one does not), and no alert names the clock, but the doctor does',
  },
  {
    number: 'F20',
    fault: 'all links cut one by one, healed in random order, 20 seeds',
    asked: 'settles ≤ 30 s after the last',
    shownBy: [{ file: 'test/faults/long/network/links.test.ts' }],
    reached:
      'every replica follows the newest route, the release has ended, the audit is whole, the log equation exact',
    weaker: '5 seeds here; 20 by npm run bench -- fleet links',
  },
  {
    number: 'F21',
    fault: 'signals doubled, late, reordered, 10,000 in a burst',
    asked: '10,000 sequences, 0 divergences',
    shownBy: [{ file: 'test/faults/sequences.test.ts' }, { file: 'test/faults/signal-burst.test.ts' }],
    reached:
      '10,000 sequences at the reducer: 0 divergences; a burst of 10,000 real signals by hand, 1,200 here',
  },
  {
    number: 'F22',
    fault: 'two releases of one model at once',
    asked: '1,000 races: one owner',
    shownBy: [{ file: 'test/faults/races.test.ts' }],
    reached: '1,000 by npm run bench -- races (packages/lab/faults/faults.md)',
  },
  {
    number: 'F23',
    fault: 'approvals: wrong role, self, expired, wrong digest, replayed, after reject, revoked key',
    asked: 'the whole matrix refused and audited',
    shownBy: [
      { file: 'test/activities/release/approvals.test.ts' },
      { file: 'test/api/auth/keys.test.ts' },
      { file: 'test/workflows/release/commands.test.ts' },
    ],
    reached: '100 cases, each with its answer and its row of the audit; every route with every role',
  },
  {
    number: 'F24',
    fault: 'bad artifacts',
    asked: 'all refused by name; loop ≤ 50 ms; RSS ≤ +50 MB',
    shownBy: [
      { file: 'test/api/serving/formats/served-networks.test.ts' },
      { file: 'test/api/serving/formats/served-layers.test.ts' },
      { file: 'test/activities/release/qualify.test.ts' },
    ],
    reached: 'each refused before any traffic, with its reason',
  },
  {
    number: 'F25',
    fault: 'bad data',
    asked: 'all refused, quarantined, or trained and never promoted; column and rule named',
    shownBy: [
      { file: 'test/faults/long/data/bad-data.test.ts' },
      { file: 'test/activities/data/bad-files.test.ts', tests: 'gives one sentence' },
      { file: 'test/domain/validation/champion-expectations.test.ts' },
      { file: 'test/domain/evaluation/inverted-labels.test.ts' },
      { file: 'test/domain/evaluation/anchor.test.ts' },
      { file: 'test/workflows/retrain/retrain.test.ts', tests: 'bad batch' },
      { file: 'test/activities/evaluation/leakage-queries.test.ts' },
      { file: 'test/domain/validation/validate.test.ts' },
    ],
    weaker:
      'the slow drip at the gate alone, against the best release of 90 days; flipped labels of a first version, or of more than two classes, are for its approver',
  },
  {
    number: 'F26',
    fault: 'bad policy or routing row by API and by SQL',
    asked: 'all refused at the write; replicas keep the last good; 0 crashes',
    shownBy: [
      { file: routing, tests: 'row' },
      { file: 'test/store/serving/routing.test.ts', tests: 'not valid' },
      { file: 'test/workflows/release/endings.test.ts', tests: 'policy that cannot be used' },
    ],
    reached: 'refused at the write; a row written past it leaves the last good route',
  },
  {
    number: 'F27',
    fault: '1,000 drift alerts in 60 s; a loop of rejected retrains',
    asked: '≤ 2 trainings',
    shownBy: [
      { file: 'test/faults/long/data/alerts.test.ts' },
      { file: 'test/domain/monitoring/retraining-triggers.test.ts', tests: 'thousand|rejection' },
    ],
    reached: 'one of a thousand starts',
  },
  {
    number: 'F28',
    fault: 'schedules overlapping',
    asked: '≤ 1 running; skipped ones counted',
    shownBy: [
      { file: 'test/cli/sync/schedules.test.ts' },
      { file: 'test/workflows/retrain/retrain.test.ts', tests: 'never twice at a time' },
    ],
    reached:
      'overlap is skipped and counted by Temporal, and reported by tenure doctor; each workflow id of a model runs once',
  },
  {
    number: 'F29',
    fault: 'log overload at 3× peak, Postgres frozen 60 s',
    asked: 'durable sheds, best-effort counts; equation exact; RSS ≤ +200 MB',
    shownBy: [{ file: 'test/faults/long/resources/log-overload.test.ts' }, { file: log }],
    weaker: 'frozen for 20 s; 60 s by TENURE_TEST_FROZEN_S=60',
  },
  {
    number: 'F30',
    fault: 'new code on old histories',
    asked: '10/10 planted changes caught',
    shownBy: [
      { file: 'test/faults/long/processes/replay.test.ts' },
      { file: 'test/workflows/replay.test.ts' },
    ],
    weaker:
      'a replay compares what is asked for and not with what: a changed timer, timeout or input is caught by no history',
  },
  {
    number: 'F31',
    fault: 'a non-deterministic worker deployed mid-canary',
    asked: '≤ lease + 1 s; old worker back → completes',
    shownBy: [{ file: 'test/faults/builds.test.ts' }],
  },
  {
    number: 'F32',
    fault: '30 days of windows',
    asked: 'continue-as-new carries pending signals: ≤ 5,000 events a run; 0 lost',
    shownBy: [{ file: 'test/faults/signal-burst.test.ts' }],
    weaker:
      'a burst of 6,000 signals in the place of 30 days; windows of 30 days by npm run bench -- thirty-days',
  },
  {
    number: 'F33',
    fault: '200 releases of artifacts, kill during collection',
    asked: 'budget + 10 %; 0 dangling',
    shownBy: [
      { file: 'test/faults/long/resources/artifact-gc.test.ts' },
      { file: 'test/activities/retention/artifact-gc.test.ts' },
      { file: 'test/domain/registry/artifact-retention.test.ts' },
    ],
    weaker: 'files and rows of 200 releases are made, not trained; 11 deaths, more with TENURE_TEST_KILLS',
  },
  {
    number: 'F34',
    fault: 'one replica with old code or without the model',
    asked: 'stage blocked, host named, every position',
    shownBy: [
      { file: 'test/faults/long/processes/positions.test.ts' },
      { file: 'test/workflows/release/lagging-replica.test.ts' },
      { file: 'test/workflows/release/evidence.test.ts', tests: 'cannot follow' },
    ],
    reached: 'held by name and host; the release continues by itself when the replica can follow',
  },
  {
    number: 'F35',
    fault: 'everything restarts at once',
    asked: 'steady ≤ 15 s',
    shownBy: [{ file: 'test/faults/long/processes/restart.test.ts' }],
    reached: 'killed in one moment under load',
    weaker: 'any time counts, for the tests of others run beside it; 15 s by npm run bench -- fleet',
  },
  {
    number: 'F36',
    fault: 'counters missing or late in a canary',
    asked: 'never promotes; then rollback',
    shownBy: [
      {
        file: 'test/workflows/release/evidence.test.ts',
        tests: 'no requests|counters that stop|no live replica',
      },
      { file: release, tests: 'counters that cannot' },
    ],
  },
  {
    number: 'F37',
    fault: 'spool full or its tail corrupt',
    asked: 'whole records recovered, loss counted: 100 %',
    shownBy: [{ file: log, tests: 'disk|torn|recovered' }],
    reached: 'recovered up to the torn end, the rest is counted',
  },
  {
    number: 'F38',
    fault: 'planted secrets and personal tokens',
    asked: '0 hits in dumps, spool, Temporal, logs, metrics, errors',
    shownBy: [{ file: 'test/faults/long/data/secrets.test.ts' }, { file: 'test/domain/redact.test.ts' }],
    weaker:
      'personal data of a request is stored in the prediction log, where erasure deletes it; what a client writes into Temporal past the API stays in that history',
  },
  {
    number: 'F39',
    fault: 'temporal workflow reset / cancel / terminate at every stage',
    asked: 'no double effect; lease ends; closed as interrupted ≤ 60 s',
    shownBy: [{ file: 'test/faults/interrupted.test.ts' }, { file: watcher, tests: 'terminated' }],
  },
  {
    number: 'F40',
    fault: 'database restored from backup',
    asked: '0 replicas move back',
    shownBy: [
      { file: routing, tests: 'newer epoch' },
      { file: 'test/store/serving/routing.test.ts', tests: 'restored' },
      { file: fleet, tests: 'from a backup' },
      { file: 'test/faults/long/processes/restore-race.test.ts' },
    ],
    reached:
      'no replica moves back; a raised epoch moves every replica forward; a rollback under way ends at the baseline',
  },
  {
    number: 'F41',
    fault: 'migration killed midway under load',
    asked: 'old and new code both run: 0 failed predictions',
    shownBy: [
      { file: 'test/faults/long/processes/migration.test.ts' },
      { file: 'test/store/database/migrate.test.ts', tests: 'leave nothing behind' },
    ],
    weaker: 'the older code is that of now beside a newer schema',
  },
  {
    number: 'F42',
    fault: 'disk full under all of the state',
    asked: 'predictions go on; writes refused by name; all well without a person when there is room',
    shownBy: [
      { file: 'test/faults/long/resources/state-disk-full.test.ts' },
      { file: 'test/cli/supervisor/merged-log.test.ts', tests: 'the disk has no room' },
      { file: 'test/activities/runtime/failures.test.ts', tests: 'waits within its attempt' },
    ],
    reached: 'workers, Temporal and Postgres killed meanwhile come back by themselves',
    weaker: 'an API replica that is killed meanwhile is not part of it',
  },
  {
    number: 'F43',
    fault: 'Postgres, Temporal or room away for longer than the attempts of an activity last',
    asked: 'no attempt is used up',
    shownBy: [
      { file: 'test/activities/runtime/failures.test.ts', tests: 'waits within its attempt' },
      { file: 'test/workflows/retrain/retrain.test.ts', tests: 'goes on when Postgres is away' },
    ],
    weaker: 'one attempt lasts at most a day; a scheduled ingestion or retention at most an hour',
  },
  {
    number: 'F44',
    fault: 'signals, updates and starts by hand in unknown encodings and of any shape',
    asked: 'refused at once and recorded; every workflow goes on or ends; nothing is retried without end',
    shownBy: [
      { file: 'test/faults/interrupted.test.ts', tests: 'in an unknown encoding' },
      { file: 'test/workflows/starts-by-hand.test.ts' },
    ],
    reached: 'signals and updates at approval, shadow and probation; 17 inputs for each of nine workflows',
  },
  {
    number: 'F45',
    fault:
      'permanent workflows, schedules and drills ended, deleted, paused or blocked from outside; silent workers',
    asked: 'an alert with the remedy ≤ 60 s; what should run is started again',
    shownBy: [
      { file: 'test/activities/worker/keep-running.test.ts' },
      { file: 'test/activities/worker/parted-runs.test.ts' },
      { file: 'test/activities/worker.test.ts', tests: 'a frozen worker raises an alert' },
    ],
  },
  {
    number: 'F46',
    fault:
      "a user's rollback while a worker, Temporal or Postgres is killed, frozen or cut off, or the workflow is blocked",
    asked: 'order → last response of the bad version ≤ 1 s; 0 after the acknowledgement',
    shownBy: [
      { file: 'test/faults/long/processes/night-rollback.test.ts' },
      { file: 'test/workflows/release/rollback.test.ts' },
      { file: 'test/api/services/rollback/rollback-model.test.ts' },
    ],
    reached: 'nine conditions; 85 to 320 ms on two replicas (packages/lab/fleet/fleet.md)',
  },
  {
    number: 'F47',
    fault: 'supervisor killed under load, and started again',
    asked:
      'API replicas serve on; 0 requests refused, also while the next supervisor takes their port over; no process is left behind',
    shownBy: [
      { file: 'test/cli/commands/admin/up.test.ts', tests: 'the supervisor is killed|stops everything' },
      { file: 'test/cli/supervisor/supervisor.test.ts', tests: 'the end of the supervisor' },
      { file: 'test/api/transport/shared-port.test.ts' },
    ],
  },
  {
    number: 'F48',
    fault: 'model files that hang, end their process, use up memory or are broken in another way',
    asked:
      'each named with its place and what to write; the others are applied; no training is retried without end',
    shownBy: [
      { file: 'test/cli/sync/load-models.test.ts' },
      { file: 'test/activities/retrain/train.test.ts', tests: 'fails without a retry|without another retry' },
    ],
  },
  {
    number: 'F49',
    fault: 'the control worker cut off while it promotes and while it rolls back',
    asked: 'the release ends as without the cut, once; 0 failed requests',
    shownBy: [{ file: 'test/faults/long/network/late-cuts.test.ts' }],
    reached: 'either server, both directions and each alone',
  },
  {
    number: 'F50',
    fault: 'the folder of artifacts is read-only',
    asked: 'predictions and releases go on; a retraining ends well when it can be written again',
    shownBy: [{ file: 'test/faults/long/resources/read-only-artifacts.test.ts' }],
    weaker:
      'read-only for a release long; a retraining whose attempts are used up before ends as failed and names the file',
  },
  {
    number: 'F51',
    fault: 'Postgres at a round trip of 300 ms; a database without a schema',
    asked: 'a replica connects, keeps its lease and answers control routes; without a schema it is not ready',
    shownBy: [
      { file: 'test/api/databases.test.ts' },
      { file: 'test/store/postgres.test.ts', tests: 'a round trip of 300 ms' },
    ],
  },
  {
    number: 'F52',
    fault:
      'random kills, freezes, cuts, clock steps, garbage and a full disk under load, releases good and bad',
    asked: 'every invariant holds; ≤ 0.05 % failed outside planted faults; nothing stuck or mended by hand',
    shownBy: [{ file: 'test/simulation/at-length.test.ts' }],
    weaker: 'in the simulator; on real processes by npm run bench -- chaos (packages/lab/fleet/fleet.md)',
  },
  {
    number: 'F53',
    fault: 'the control worker killed, frozen or cut off, or Temporal away, while alerts are due',
    asked: 'an alert reaches every channel ≤ 60 s, once, also when the worker is back',
    shownBy: [
      { file: 'test/faults/long/processes/alert-delivery.test.ts' },
      { file: 'test/activities/alerts/dispatch.test.ts', tests: 'by several processes|is done by replicas' },
    ],
    weaker:
      'a sender that is frozen after its message has left sends it a second time, with the same webhook id',
  },
  {
    number: 'F54',
    fault: "a retraining with millions of rows beside another model's canary",
    asked:
      'the canary keeps its share; the control worker answers; no heartbeat times out; memory within limits',
    shownBy: [{ file: 'test/activities/retrain/validate.test.ts', tests: 'leaves the event loop' }],
    weaker: 'the check of the rows alone, which is what held the event loop up',
  },
  {
    number: 'F55',
    fault: 'a command or an activity repeated after a commit without an answer, or raced by another caller',
    asked: 'it takes effect once, on what it was given for, and tells what has become of it',
    shownBy: [
      { file: 'test/api/services/rollback/rollback-model.test.ts' },
      { file: 'test/api/services/repeated-commands.test.ts' },
      { file: 'test/api/routes/lifecycle/triggers.test.ts', tests: 'whose answer was lost' },
      { file: 'test/api/auth/keys.test.ts', tests: 'a repeated rotation keeps' },
      { file: 'test/cli/commands/lifecycle/rollback.test.ts' },
      { file: 'test/cli/commands/admin/kill-switches.test.ts', tests: 'asks about the switch' },
      { file: 'test/api/services/chat/slack.test.ts', tests: 'a click counts as the key' },
      { file: 'test/activities/monitor/decay.test.ts', tests: 'response to its rollback is lost' },
      { file: 'test/activities/retrain/validate.test.ts', tests: 'that is repeated' },
      { file: 'test/workflows/erase.test.ts', tests: 'named while it ends' },
      { file: 'test/workflows/release/queue.test.ts', tests: 'asks again after its turn' },
      { file: 'test/cli/commands/lifecycle/release-commands.test.ts' },
      { file: 'test/activities/runtime/find-run.test.ts' },
      { file: 'test/cli/backup/lost-answer.test.ts' },
      { file: 'test/cli/backup/scheduled/keep-backups.test.ts', tests: 'that it has made' },
      { file: 'test/api/streams/storing.test.ts', tests: 'delivers the first of them again' },
      { file: 'test/api/streams/predictions.test.ts', tests: 'that was created again' },
    ],
  },
  {
    number: 'F56',
    fault: 'the disk of a replica full, with Postgres away and the replica killed meanwhile',
    asked:
      'predictions by the mode of the log; no version and no key that has ended comes back; served = stored + dropped; told ≤ 10 s',
    shownBy: [
      { file: 'test/faults/long/resources/replica-disk-full.test.ts' },
      { file: 'test/api/serving/log/full-disk.test.ts', tests: 'of the spool' },
    ],
    reached: 'all, also for a process that was started on the full disk',
    weaker:
      'a disk that has become read-only keeps its older routes and keys; a replica that starts without a copy needs Postgres',
  },
]
