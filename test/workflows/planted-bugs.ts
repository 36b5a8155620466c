/**
 * Lists changes of workflow code that would block running workflows after a deployment, each with the recorded histories that detect it.
 * Also lists changes that no history detects, because a replay compares commands and not their inputs.
 */

import type { PlantedChange } from '../support/release/histories.ts'

const machine = 'workflows/release.ts'
/** Releases recorded from their first run; `releases` adds the run that continues one. */
const opened = ['abort', 'cancellation', 'promotion', 'rejection', 'rollback', 'superseded'] as const
const releases = ['carried', ...opened] as const

const planted = (
  name: string,
  breaks: readonly string[],
  file: string,
  ...changes: PlantedChange['changes']
): PlantedChange => ({ name, file, changes, breaks: [...breaks].sort() })

/** Replayed by the ordinary test suite. */
export const first: readonly PlantedChange[] = [
  planted('an opening after the first step', releases, machine, [
    'const opening = await short.openRelease({ ...request, id })',
    'await sleep(1)\n    const opening = await short.openRelease({ ...request, id })',
  ]),
  planted('an added timer', opened, machine, [
    'return qualification.qualify(input)',
    'return sleep(1).then(() => qualification.qualify(input))',
  ]),
  planted('a look that is not taken', ['abort', 'carried', 'rejection'], machine, [
    'if (isNew) take(',
    'if (isNew && commands.size < 0) take(',
  ]),
  planted('a changed state machine', opened, 'domain/release/next-effect.ts', [
    "return { kind: 'qualify', key }",
    "return { kind: 'promote', key }",
  ]),
]

export const further: readonly PlantedChange[] = [
  planted('a trial that scores in place of its evaluation', ['trial'], 'workflows/trials/trial.ts', [
    '(opened.isOfSweep ? scoreTrial({ run }) : evaluate({ run }))',
    'scoreTrial({ run })',
  ]),
  planted('a sweep that chooses before its trials', ['sweep'], 'workflows/trials/sweep.ts', [
    'await runTrials(opened)\n',
    '',
  ]),
  planted('an added activity', releases, machine, [
    'take(opening.state)\n',
    'take(opening.state)\n    await short.nextQueuedRelease({ model })\n',
  ]),
  planted('one activity replaced by another', ['promotion'], machine, [
    'return short.promote(input)',
    'return acknowledged(state).route(state) as never',
  ]),
  planted(
    'a patch around code that recorded runs have executed without it',
    releases,
    machine,
    ['  setHandler,\n', '  patched,\n  setHandler,\n'],
    ['publish(state)\n', "if (patched('published')) publish(state)\n"],
  ),
  planted('a removed signal handler', ['abort'], machine, [
    'setHandler(commandSignals[name], (sent)',
    "if (name !== 'abort') setHandler(commandSignals[name], (sent)",
  ]),
  planted('a signal handler without effect', ['superseded'], machine, [
    'setHandler(supersedeSignal, () => void (news.queue = true))',
    'setHandler(supersedeSignal, () => {})',
  ]),
  planted('a continued run that does not look at what is new', ['carried'], machine, [
    'isNew: isContinued',
    'isNew: false',
  ]),
  planted('another workflow id of a child', ['drill', 'queue', 'refit', 'retrain'], 'workflows/messages.ts', [
    'releaseWorkflowId = (model: string): string => `release/',
    'releaseWorkflowId = (model: string): string => `releases/',
  ]),
  planted('steps abandoned instead of cancelled', ['abort', 'cancellation'], 'workflows/activities.ts', [
    'ActivityCancellationType.TRY_CANCEL',
    'ActivityCancellationType.ABANDON',
  ]),
  planted('a sleep before a window is processed', ['monitor'], 'workflows/monitor.ts', [
    '    const seen = await monitorModel(',
    '    await condition(() => false, 1)\n    const seen = await monitorModel(',
  ]),
  planted('refitted weights that are not checked', ['refit'], 'workflows/run-stages.ts', [
    '  await training(queues.trainQueue).checkRefit({ run })\n',
    '',
  ]),
  planted(
    'a skipped step of a retraining',
    ['refit', 'retrain', 'sweep', 'trial'],
    'workflows/run-stages.ts',
    ['const { verdict } = await rows.validate({ run })', "const verdict: string = 'pass'"],
  ),
]

/** Changes that no event records; the tests of the release stages cover them. */
export const unnoticed: readonly PlantedChange[] = [
  planted('the length of a timer', [], 'domain/release/next-effect.ts', [
    'untilMs: state.enteredMs + state.policy.approval.withinMs',
    'untilMs: state.enteredMs + 2 * state.policy.approval.withinMs',
  ]),
  planted('the timeout of an activity', [], 'workflows/activities.ts', [
    "startToCloseTimeout: '20 s'",
    "startToCloseTimeout: '2 s'",
  ]),
  planted('the input of an activity', [], machine, [
    'short.failStep(input)',
    'short.failStep({ ...input, seen: 0 })',
  ]),
]
