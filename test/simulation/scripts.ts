/**
 * Defines scripts: fixed orders of events that once broke a property or that random runs hardly ever hit. A seed gives another run as soon
 * as the drawing of scenarios changes; a script stays the same.
 */
import type { CommandName } from '../../domain/release/state.ts'
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import type { Faults } from './faults/faults.ts'
import type { Machine, Moment, Moments, World } from '@tenure/simulator'
import type { Behaviour, SimulatedReplica } from './replicas.ts'
import type { PlannedCommand, Scenario } from './scenario.ts'

/** The parts of the world that a script acts on. */
export interface Stage {
  world: World
  /** The Temporal server. */
  temporal: Machine
  moments: Moments
  faults: Faults
  replicas: readonly SimulatedReplica[]
  behaviour: Behaviour
  say: (said: Omit<PlannedCommand, 'atMs' | 'copies'>) => void
  /** Ends the release from outside. */
  terminate(): void
  /** Sets the database clock ahead, or back if negative, in milliseconds. */
  stepDatabaseClock(ms: number): void
}

export interface Script {
  name: string
  /** The order of events, in words. */
  says: string
  scenario: Scenario
  /** The expected outcomes of its releases, in order. */
  outcomes: readonly string[]
  play(stage: Stage): void
}

const step = { minMs: 500, minRequests: 8, deadlineMs: 3_000 }
const policy: ReleasePolicy = {
  strategy: 'direct',
  approval: { approvers: 1, withinMs: 3_000 },
  stages: [{ ...step, shareBp: 2_000 }],
  watch: { tickMs: 200, everyMs: 250, exposureMs: 1_200, acknowledgeMs: 2_400, decisionMs: 2_000 },
  limits: { ...defaultCanaryPolicy, maxStaleMs: 1_500, promotion: 'off', srm: 'off' },
}
const probation = { ...step, holdbackBp: 2_000 }

const candidate = 'm_v1.1.0'

/** Builds a scenario with one release that is approved at once, two replicas, two workers and no faults except the script's. */
const scenario = (changes: Partial<ReleasePolicy> = {}, more: Partial<Scenario> = {}): Scenario => ({
  mode: 'liveness',
  policy: { ...policy, ...changes },
  hasChampion: true,
  replicas: 2,
  workers: 2,
  leaseMs: 1_200,
  callers: 5,
  longHistory: 1_000,
  isDeaf: false,
  releases: [
    {
      atMs: 400,
      version: candidate,
      by: 'rita',
      invalid: 0,
      commands: [
        {
          atMs: 700,
          command: 'approve',
          by: 'anna',
          id: 'c0',
          reason: 'it is better',
          isSignal: true,
          copies: [0],
        },
      ],
    },
  ],
  faults: [],
  healsAtMs: 9_000,
  untilMs: 9_000,
  ...more,
})

const [approved] = scenario().releases
const unanswered = { ...approved!, commands: [] }
const next = {
  ...approved!,
  atMs: 700,
  version: 'm_v1.2.0',
  commands: approved!.commands.map((each) => ({ ...each, atMs: 1_000 })),
}

const rolledBackAt = (atMs: number) => ({ atMs, kind: 'roll back model', forMs: 0, which: 1 }) as const

const bad = (given: Scenario, invalid: number): Scenario => ({
  ...given,
  releases: given.releases.map((each) => ({ ...each, invalid })),
})

/** Runs an action at the first such moment and delays the moment by so many milliseconds. */
const at = (
  { moments }: Stage,
  awaits: (moment: Moment) => boolean,
  act: (moment: Moment) => void,
  delayMs = 0,
): void =>
  moments.wait({
    awaits,
    strike(moment) {
      act(moment)
      return delayMs
    },
  })

/** Acts `waitMs` after the promotion is written; the step reports `reportMs` after that. */
const afterPromotion = (
  stage: Stage,
  { waitMs, reportMs }: { waitMs: number; reportMs: number },
  act: () => void,
): void => at(stage, tells('promote'), () => void stage.world.after(stage.temporal, waitMs, act), reportMs)

const asks = (name: string, statement: string) => (moment: Moment) =>
  moment.kind === 'asks' && moment.step === name && moment.statement === statement

const begins = (name: string) => (moment: Moment) => moment.kind === 'begins' && moment.step === name

const tells = (name: string) => (moment: Moment) => moment.kind === 'tells' && moment.step === name

const isFailure = (moment: Moment) =>
  moment.kind === 'asks' && moment.statement === 'insertDecision' && moment.values[3] === 'fail'

const orders = ({ say }: Stage, command: CommandName): void =>
  say({ command, by: 'olga', id: `order-${command}`, reason: 'it is not wanted', isSignal: true })

/** Cuts off a replica in a canary and sets the database clock before the candidate is rolled back. */
const clockScript = (words: string, stepMs: number, order: 'release' | 'model'): Script => ({
  name: `clock-${words.replaceAll(' ', '-')}-before-the-order-of-a-${order}`,
  says: `In a canary one replica is cut off from the database, whose clock is then set ${words}. The ${order} is rolled back.`,
  scenario: scenario({ strategy: 'canary' }, { callers: 40 }),
  outcomes: ['rolled_back'],
  play(stage) {
    const act = () => {
      stage.faults.befall({ kind: 'cut replica', atMs: 0, forMs: 4_000, which: 0 })
      stage.stepDatabaseClock(stepMs)
      if (order === 'release') orders(stage, 'rollback')
      else stage.faults.befall({ kind: 'roll back model', atMs: 0, forMs: 0, which: 1 })
    }
    // Between two renewals of the exposure: the renewal would count from another clock than the look before it.
    at(stage, asks('watch', 'recordObservation'), () => void stage.world.after(stage.temporal, 100, act))
  },
})

export const scripts: readonly Script[] = [
  {
    name: 'abort-while-promoting',
    says: 'The promotion is held before it locks the release. An abort is accepted and stored. The promotion goes on before the rollback begins.',
    scenario: scenario(),
    outcomes: ['aborted'],
    play(stage) {
      at(stage, asks('promote', 'lockRelease'), () => orders(stage, 'abort'), 300)
      at(stage, asks('rollBackCandidate', 'begin'), () => {}, 900)
    },
  },
  {
    name: 'abort-to-a-workflow-that-looks-at-nothing',
    says: 'The workflow is that of an attacker: it accepts an abort in a canary and looks at no row. The next act of the release finds the abort.',
    scenario: scenario(
      { strategy: 'canary', approval: { approvers: 0, withinMs: 3_000 } },
      { isDeaf: true, releases: [unanswered] },
    ),
    outcomes: ['aborted'],
    play: (stage) => at(stage, begins('watch'), () => orders(stage, 'abort')),
  },
  {
    name: 'restore-while-rolling-back',
    says: 'In probation a rollback is accepted and written. While it waits for the replicas, a backup from the probation is restored.',
    scenario: scenario({ probation }),
    outcomes: ['rolled_back'],
    play(stage) {
      at(stage, begins('watch'), () => {
        stage.world.after(stage.temporal, 200, () => {
          stage.faults.keepBackup()
          orders(stage, 'rollback')
        })
      })
      at(stage, asks('rollBackCandidate', 'listRecentReplicas'), () => stage.faults.restore())
    },
  },
  {
    name: 'first-version-rolled-back-at-its-end',
    says: 'The first version of a model is promoted. Before its end is recorded, a rollback is accepted. The model has no version to return to.',
    scenario: scenario({}, { hasChampion: false }),
    outcomes: ['promoted'],
    play: (stage) => at(stage, asks('closeRelease', 'begin'), () => orders(stage, 'rollback'), 300),
  },
  {
    name: 'revoked-key-commands',
    says: 'An approval is recorded while no worker runs. The key of its sender is revoked, and a worker starts long after that.',
    scenario: scenario(
      { approval: { approvers: 1, withinMs: 9_000 } },
      { releases: [unanswered], healsAtMs: 14_000, untilMs: 14_000 },
    ),
    outcomes: ['expired'],
    play(stage) {
      const { world, temporal, faults } = stage
      world.after(temporal, 700, () => {
        for (const which of [0, 1]) faults.befall({ kind: 'crash worker', atMs: 0, forMs: 6_500, which })
        stage.say({ command: 'approve', by: 'anna', id: 'revoked', reason: 'it is better', isSignal: true })
      })
      world.after(temporal, 1_000, () => faults.befall({ kind: 'revoke key', atMs: 0, forMs: 0, which: 0 }))
    },
  },
  {
    name: 'signal-to-a-release-that-a-restore-has-lost',
    says: 'A release awaits approval. A backup from before it is restored, and a signal arrives.',
    scenario: scenario({}, { releases: [unanswered] }),
    outcomes: ['failed'],
    play(stage) {
      at(stage, begins('openRelease'), () => stage.faults.keepBackup())
      stage.world.after(stage.temporal, 1_000, () => {
        stage.faults.restore()
        orders(stage, 'abort')
      })
    },
  },
  {
    name: 'restore-meets-a-late-watch',
    says: 'A probation passes, and the watch is held before it stores that. A rollback is accepted. A backup from the probation is restored, and the watch goes on.',
    scenario: scenario({ probation }, { callers: 40 }),
    outcomes: ['rolled_back'],
    play(stage) {
      const passes = (moment: Moment) =>
        moment.kind === 'asks' && moment.statement === 'insertDecision' && moment.values[3] === 'pass'
      at(
        stage,
        passes,
        () => {
          stage.faults.keepBackup()
          orders(stage, 'rollback')
        },
        300,
      )
      at(stage, asks('rollBackCandidate', 'listRecentReplicas'), () => stage.faults.restore(), 800)
    },
  },
  {
    name: 'restore-before-the-end',
    says: 'In probation a rollback is accepted, written and acknowledged. Before the end is written, a backup from the probation is restored.',
    scenario: scenario({ probation }),
    outcomes: ['rolled_back'],
    play(stage) {
      at(stage, begins('watch'), () => {
        stage.world.after(stage.temporal, 200, () => {
          stage.faults.keepBackup()
          orders(stage, 'rollback')
        })
      })
      at(stage, asks('closeRelease', 'begin'), () => stage.faults.restore())
    },
  },
  {
    name: 'cut-replica-keeps-the-promoted',
    says: 'The promotion is written and its report is late. One replica is cut off from the database. A rollback is accepted, and the other replica acknowledges it.',
    scenario: scenario(),
    outcomes: ['rolled_back'],
    play: (stage) =>
      afterPromotion(stage, { waitMs: 100, reportMs: 1_000 }, () => {
        stage.faults.befall({ kind: 'cut replica', atMs: 0, forMs: 6_000, which: 0 })
        orders(stage, 'rollback')
      }),
  },
  {
    name: 'cut-replica-keeps-the-proven',
    says: 'The release has ended as promoted. One replica is cut off from the database. The model is rolled back.',
    scenario: scenario(
      {},
      {
        faults: [
          { atMs: 2_000, kind: 'cut replica', forMs: 6_000, which: 0 },
          { atMs: 4_000, kind: 'roll back model', forMs: 0, which: 1 },
        ],
      },
    ),
    outcomes: ['promoted'],
    play() {},
  },
  {
    name: 'restarted-replica-is-unknown',
    says: 'The release has ended as promoted. Both replicas are killed. The first one to return ends the lease of the other, whose own registration and reads are late when the model is rolled back.',
    scenario: scenario(
      {},
      {
        faults: [
          { atMs: 2_400, kind: 'crash replica', forMs: 600, which: 1 },
          { atMs: 2_500, kind: 'crash replica', forMs: 1_300, which: 2 },
          // All faults and delays end with the last fault.
          { atMs: 4_000, kind: 'roll back model', forMs: 2_500, which: 1 },
        ],
      },
    ),
    outcomes: ['promoted'],
    play(stage) {
      const [late] = stage.replicas
      const asked = (statement: string) => (moment: Moment) =>
        moment.kind === 'asks' && moment.machine === late?.machine && moment.statement === statement
      stage.world.after(stage.temporal, 2_600, () => at(stage, asked('renewLease'), () => {}, 1_400))
      stage.world.after(stage.temporal, 3_900, () => at(stage, asked('readRouting'), () => {}, 1_200))
    },
  },
  {
    name: 'cut-replica-keeps-the-first',
    says: 'The promotion of a first version is written and its report is late. One replica is cut off from the database, the champion is moved by hand to an older version, and a rollback is accepted.',
    scenario: scenario({}, { hasChampion: false }),
    outcomes: ['rolled_back'],
    play: (stage) =>
      afterPromotion(stage, { waitMs: 100, reportMs: 1_000 }, () => {
        stage.faults.befall({ kind: 'cut replica', atMs: 0, forMs: 6_000, which: 0 })
        stage.faults.befall({ kind: 'move champion', atMs: 0, forMs: 0, which: 0 })
        orders(stage, 'rollback')
      }),
  },
  {
    name: 'restore-loses-the-first-route',
    says: 'The promotion of a first version is written and its report is late. A backup from before it is restored, one replica is cut off from the database, and a rollback is accepted.',
    scenario: scenario({}, { hasChampion: false, healsAtMs: 13_000, untilMs: 13_000 }),
    outcomes: ['rolled_back'],
    play(stage) {
      at(stage, begins('promote'), () => stage.faults.keepBackup())
      afterPromotion(stage, { waitMs: 600, reportMs: 7_000 }, () => {
        stage.faults.restore()
        stage.faults.befall({ kind: 'cut replica', atMs: 0, forMs: 9_000, which: 0 })
        // Replicas have six seconds after a restore before the properties judge them.
        stage.world.after(stage.temporal, 6_100, () => orders(stage, 'rollback'))
      })
    },
  },
  {
    name: 'restore-hides-who-is-proven',
    says: 'The promotion of a first version is written and its report is late. The champion is moved by hand to an older version, and a backup with that is restored. A rollback is accepted, and then one replica is cut off from the database.',
    scenario: scenario({}, { hasChampion: false, healsAtMs: 15_000, untilMs: 15_000 }),
    outcomes: ['rolled_back'],
    play(stage) {
      afterPromotion(stage, { waitMs: 600, reportMs: 7_000 }, () => {
        stage.faults.befall({ kind: 'move champion', atMs: 0, forMs: 0, which: 0 })
        stage.faults.keepBackup()
        stage.faults.restore()
        stage.world.after(stage.temporal, 6_100, () => orders(stage, 'rollback'))
      })
      at(stage, tells('rollBackCandidate'), () =>
        stage.faults.befall({ kind: 'cut replica', atMs: 0, forMs: 4_000, which: 0 }),
      )
    },
  },
  {
    name: 'champion-moved-while-rolling-back',
    says: 'The promotion of a first version is written and its report is late. A rollback is accepted, and finds no version to return to. While it waits for the replicas, the champion is moved by hand to an older version.',
    scenario: scenario({}, { hasChampion: false }),
    outcomes: ['rolled_back'],
    play(stage) {
      afterPromotion(stage, { waitMs: 600, reportMs: 1_000 }, () => orders(stage, 'rollback'))
      at(stage, asks('rollBackCandidate', 'listRecentReplicas'), () =>
        stage.faults.befall({ kind: 'move champion', atMs: 0, forMs: 0, which: 0 }),
      )
      at(stage, asks('closeRelease', 'begin'), () => {}, 900)
    },
  },
  {
    name: 'champion-moved-within-a-rollback',
    says: 'The promotion of a first version is written and its report is late. A rollback is accepted. In its transaction, after the champion was read, the champion is moved by hand to an older version.',
    scenario: scenario({}, { hasChampion: false }),
    outcomes: ['rolled_back'],
    play(stage) {
      afterPromotion(stage, { waitMs: 600, reportMs: 1_000 }, () => orders(stage, 'rollback'))
      at(
        stage,
        asks('rollBackCandidate', 'findRollbackTarget'),
        () => stage.faults.befall({ kind: 'move champion', atMs: 0, forMs: 0, which: 0 }),
        50,
      )
      at(stage, asks('closeRelease', 'begin'), () => {}, 900)
    },
  },
  {
    name: 'pause-meets-the-verdict',
    says: 'The verdict fail is stored. A pause cancels the watch before its report arrives. The candidate behaves from then on, and the next look is late.',
    scenario: bad(scenario({ strategy: 'canary' }, { callers: 40 }), 0.3),
    outcomes: ['rolled_back'],
    play(stage) {
      at(stage, isFailure, () => {
        stage.say({ command: 'pause', by: 'anna', id: 'order-pause', reason: 'a look at it', isSignal: true })
        for (const each of stage.behaviour.values()) each.invalid = 0
        // The report must not arrive before the pause is applied.
        at(stage, tells('watch'), () => {}, 50)
        at(stage, asks('watch', 'recordObservation'), () => {}, 1_300)
      })
    },
  },
  {
    name: 'approval-meets-the-verdict',
    says: 'A share awaits a decision. The verdict fail is stored. An approval cancels the watch before its report arrives, and asks for the next share.',
    scenario: scenario(
      {
        strategy: 'canary',
        stages: [
          { ...step, minRequests: 10_000, deadlineMs: 1_000, shareBp: 2_000 },
          { ...step, shareBp: 5_000 },
        ],
      },
      { callers: 40 },
    ),
    outcomes: ['rolled_back'],
    play(stage) {
      stage.world.after(stage.temporal, 3_000, () => {
        for (const each of stage.behaviour.values()) each.invalid = 0.9
      })
      at(stage, isFailure, () => {
        stage.say({
          command: 'approve',
          by: 'ben',
          id: 'order-approve',
          reason: 'it will do',
          isSignal: true,
        })
        at(stage, tells('watch'), () => {}, 50)
      })
    },
  },
  {
    name: 'command-meets-the-last-look',
    says: 'The end is stored and its report is late. A look at a command finds the end, the next one begins, and a third command comes before it is told.',
    scenario: scenario(),
    outcomes: ['promoted'],
    play(stage) {
      const say = (command: 'pause' | 'resume') =>
        stage.say({ command, by: 'anna', id: `order-${command}`, reason: 'too late', isSignal: true })
      const answered = (act: () => void) => at(stage, tells('lookAtCommands'), act, 60)
      at(
        stage,
        tells('closeRelease'),
        () => {
          stage.say({ command: 'abort', by: 'olga', id: 'order-abort', reason: 'too late', isSignal: true })
          answered(() => {
            say('pause')
            answered(() => say('resume'))
          })
        },
        900,
      )
    },
  },
  {
    name: 'command-meets-the-last-answer',
    says: 'The end is stored and its report is late. The look at an update finds the end. While the next update is looked at, a signal comes and is looked at, too.',
    scenario: scenario(),
    outcomes: ['promoted'],
    play(stage) {
      const say = (command: 'abort' | 'resume' | 'pause', isSignal = false) =>
        stage.say({ command, by: 'anna', id: `order-${command}`, reason: 'too late', isSignal })
      const told = (act: () => void, delayMs: number) => at(stage, tells('lookAtCommands'), act, delayMs)
      at(
        stage,
        tells('closeRelease'),
        () => {
          say('abort')
          told(() => {
            say('resume')
            told(() => void stage.world.after(stage.temporal, 200, () => say('pause', true)), 400)
          }, 60)
        },
        900,
      )
    },
  },
  {
    name: 'evidence-changes-before-the-promotion',
    says: 'The release is approved. The evaluation of the candidate changes while the replicas load it for the promotion.',
    scenario: scenario({}, { faults: [{ atMs: 1_000, kind: 'change evidence', forMs: 0, which: 1 }] }),
    outcomes: ['superseded'],
    play() {},
  },
  {
    name: 'late-renewal-of-an-ended-lease',
    says: 'A replica sends the renewal of its lease and is not heard for almost a lease. The one before ends, the release is aborted without it, and its next read of the routes is late. The renewal arrives.',
    scenario: scenario(
      { strategy: 'canary', watch: { ...policy.watch, exposureMs: 3_000 } },
      { callers: 40 },
    ),
    outcomes: ['aborted'],
    play(stage) {
      const [replica] = stage.replicas
      const sends = (statement: string) => (moment: Moment) =>
        moment.kind === 'asks' && moment.machine === replica?.machine && moment.statement === statement
      at(stage, begins('watch'), () =>
        at(
          stage,
          sends('renewLease'),
          () => {
            orders(stage, 'abort')
            at(stage, sends('readRouting'), () => {}, 1_400)
          },
          1_170,
        ),
      )
    },
  },
  {
    name: 'replica-returns-behind-a-stage',
    says: 'A replica is cut off and loses its lease. The other one acknowledges the route of a stage, and the report of that is late. The replica returns under a new lease and cannot fetch the version of the stage. The stage is stored as reached.',
    scenario: scenario(),
    outcomes: ['promoted'],
    play(stage) {
      const { world, temporal, faults } = stage
      const cut = (isCut: boolean) => {
        world.cut('replica-1', 'database', isCut)
        world.cut('database', 'replica-1', isCut)
      }
      at(stage, begins('openRelease'), () => cut(true))
      at(
        stage,
        tells('route'),
        () => {
          faults.befall({ kind: 'lose bytes', atMs: 0, forMs: 2_000, which: 0 })
          world.after(temporal, 100, () => cut(false))
        },
        1_500,
      )
    },
  },
  clockScript('five minutes ahead', 300_000, 'release'),
  clockScript('a day ahead', 86_400_000, 'model'),
  clockScript('five minutes back', -300_000, 'release'),
  {
    name: 'rollback-of-a-replica-that-is-gone',
    says: 'The release has ended as promoted. One replica is cut off from the database, whose clock is set a day ahead. The other one starts again and finds it gone for longer than an hour. The model is rolled back.',
    scenario: scenario(
      {},
      {
        faults: [
          { atMs: 2_500, kind: 'cut replica', forMs: 6_500, which: 0 },
          { atMs: 2_700, kind: 'crash replica', forMs: 300, which: 1 },
          { atMs: 7_500, kind: 'roll back model', forMs: 0, which: 1 },
        ],
      },
    ),
    outcomes: ['promoted'],
    play: ({ world, temporal, stepDatabaseClock }) =>
      void world.after(temporal, 2_600, () => stepDatabaseClock(86_400_000)),
  },
  {
    name: 'clock-back-while-no-watcher-runs',
    says: 'In a canary both workers and one replica are killed, and the clock of the database is set five minutes back. The replica starts again before the workers. A rollback is accepted.',
    scenario: scenario({ strategy: 'canary' }, { callers: 40 }),
    outcomes: ['rolled_back'],
    play(stage) {
      at(stage, asks('watch', 'recordObservation'), () =>
        stage.world.after(stage.temporal, 100, () => {
          for (const which of [0, 1])
            stage.faults.befall({ kind: 'crash worker', atMs: 0, forMs: 5_000, which })
          stage.faults.befall({ kind: 'crash replica', atMs: 0, forMs: 1_500, which: 1 })
          stage.stepDatabaseClock(-300_000)
          orders(stage, 'rollback')
        }),
      )
    },
  },
  {
    name: 'order-meets-a-restored-route',
    says: 'In a canary a user orders a rollback. Before it is written, a backup is restored, and the watch reads that its route is gone. The order is written, and then the watch reports.',
    scenario: scenario({ strategy: 'canary' }, { callers: 40 }),
    outcomes: ['rolled_back'],
    play(stage) {
      const { faults } = stage
      const isOrder = (moment: Moment) =>
        moment.kind === 'asks' && moment.step === undefined && moment.statement === 'findModel'
      at(stage, asks('watch', 'recordObservation'), () => {
        faults.keepBackup()
        at(stage, isOrder, () => faults.restore(), 600)
        at(stage, tells('watch'), () => {}, 1_000)
        faults.befall({ kind: 'roll back model', atMs: 0, forMs: 0, which: 1 })
      })
    },
  },
  {
    name: 'late-opening-meets-its-successor',
    says: 'A worker is held as it opens a release, whose workflow is terminated. The next release of the model is opened and approved. The opening goes on.',
    scenario: scenario({}, { releases: [unanswered, next] }),
    outcomes: ['promoted'],
    play: (stage) => at(stage, asks('openRelease', 'findRelease'), () => stage.terminate(), 1_000),
  },
  {
    name: 'question-to-temporal-is-lost',
    says: 'The watch of a canary asks Temporal whether its workflow can be reached. The question is lost, and the link heals before a heartbeat is missed.',
    scenario: scenario({ strategy: 'canary' }, { callers: 40 }),
    outcomes: ['promoted'],
    play: (stage) =>
      at(stage, asks('watch', 'insertDecision'), ({ machine }) => {
        const { world, temporal } = stage
        world.cut(machine.name, temporal.name, true)
        world.after(undefined, 100, () => world.cut(machine.name, temporal.name, false))
      }),
  },
  {
    name: 'second-rollback-an-hour-later',
    says: 'A version is rolled back in its probation. An hour later the model is rolled back again: no version before it is known good.',
    scenario: scenario({ probation }, { faults: [2_000, 6_000].map(rolledBackAt) }),
    outcomes: ['rolled_back'],
    play: ({ world, temporal, stepDatabaseClock }) =>
      void world.after(temporal, 4_000, () => stepDatabaseClock(3_600_000)),
  },
  {
    name: 'late-order-meets-its-successor',
    says: 'In a canary the model is rolled back, and Temporal is cut off from the delivery of the order. The release ends by its changed route. The order is delivered while the next release awaits its approval.',
    scenario: scenario(
      { strategy: 'canary', approval: { approvers: 1, withinMs: 4_000 } },
      { callers: 40, releases: [approved!, { ...next, atMs: 2_500, commands: [] }] },
    ),
    outcomes: ['rolled_back', 'expired'],
    play: (stage) =>
      at(stage, asks('watch', 'insertDecision'), () => {
        const { world, temporal, faults } = stage
        world.cut('api', temporal.name, true)
        faults.befall({ kind: 'roll back model', atMs: 0, forMs: 0, which: 1 })
        world.after(undefined, 3_000, () => world.cut('api', temporal.name, false))
      }),
  },
]
