/**
 * Lists changes of workflow code that would block running workflows after a deployment, each with the recorded histories that detect it.
 * Also lists changes that no history detects, because a replay compares commands and not their inputs.
 */

import type { PlantedChange } from '../support/release/histories.ts'

const machine = 'workflows/release.ts'
/** Releases recorded from their first run; `releases` adds the continued run. */
const opened = [
  'abort',
  'cancellation',
  'crowded',
  'promotion',
  'rejection',
  'rollback',
  'superseded',
] as const
const releases = ['carried', ...opened] as const

const planted = (
  name: string,
  breaks: readonly string[],
  file: string,
  ...changes: PlantedChange['changes']
): PlantedChange => ({ name, file, changes, breaks: [...breaks].sort() })

/** Replayed by the ordinary test suite. */
export const first: readonly PlantedChange[] = [
  planted(
    'two steps swapped',
    releases,
    machine,
    ['publish(steps.current())\n      if', 'await steps.save()\n      if'],
    [
      '        await steps.save()\n        await commands',
      '        publish(steps.current())\n        await commands',
    ],
  ),
  planted('an added timer', opened, machine, [
    'return qualifying.qualify(input)',
    'return sleep(1).then(() => qualifying.qualify(input))',
  ]),
  planted('a removed activity', releases, machine, [
    'await control.recordRelease({ state: now, commands: [] })',
    '',
  ]),
  planted('a changed state machine', opened, 'domain/release/reducer.ts', [
    "enterStage(state, 'awaiting_approval', event.atMs)",
    'goOn(state, event.atMs)',
  ]),
]

export const further: readonly PlantedChange[] = [
  planted('a trial that scores in place of its evaluation', ['trial'], 'workflows/trials/trial.ts', [
    'if (request.sweep !== undefined) {',
    'if (request.sweep === undefined) {',
  ]),
  planted('a sweep that chooses before its trials', ['sweep'], 'workflows/trials/sweep.ts', [
    'await runTrials(request, { asOf, snapshotDigest })\n',
    '',
  ]),
  planted('an added activity', opened, machine, [
    'steps.open(opening.state)\n',
    'steps.open(opening.state)\n      await control.nextQueuedRelease({ model: request.model })\n',
  ]),
  planted('one activity replaced by another', ['promotion'], machine, [
    'return control.promote(input)',
    'return routing(state).route(state) as never',
  ]),
  planted(
    'a state saved after its step, not ahead of it',
    releases,
    machine,
    ['        await steps.save()\n        await commands', '        await commands'],
    ['while (!steps.isSaved())\n      const', 'while (false)\n      const'],
    [
      'const event = await steps.attempt(effect, needsHandOver)\n',
      'const event = await steps.attempt(effect, needsHandOver)\n      await steps.save()\n',
    ],
  ),
  planted(
    'a patch around code that recorded runs have executed without it',
    ['crowded'],
    'workflows/release/command-handlers.ts',
    ['  setHandler,\n', '  patched,\n  setHandler,\n'],
    ['inbox.isCrowded() ||', "(inbox.isCrowded() && patched('crowded')) ||"],
  ),
  planted(
    'a change without a patch: a run continues as new earlier',
    ['crowded'],
    'workflows/release/inbox.ts',
    ['const maxReceived = 250', 'const maxReceived = 50'],
  ),
  planted('a removed signal handler', ['abort'], 'workflows/release/command-handlers.ts', [
    'setHandler(commandSignals[name], (sent)',
    "if (name !== 'abort') setHandler(commandSignals[name], (sent)",
  ]),
  planted('a signal handler without effect', ['superseded'], machine, [
    'if (steps.find() !== undefined && !ending) await offerSupersede()',
    '',
  ]),
  planted('commands of the previous run dropped', ['carried'], 'workflows/release/inbox.ts', [
    '[...(carried?.pending ?? [])]',
    '[]',
  ]),
  planted(
    'another workflow id of a child',
    ['carried', 'drill', 'queue', 'retrain'],
    'workflows/messages.ts',
    [
      'releaseWorkflowId = (model: string): string => `release/',
      'releaseWorkflowId = (model: string): string => `releases/',
    ],
  ),
  planted(
    'steps abandoned instead of cancelled',
    ['abort', 'cancellation'],
    'workflows/release/activities.ts',
    ['ActivityCancellationType.TRY_CANCEL', 'ActivityCancellationType.ABANDON'],
  ),
  planted('a sleep before a window is processed', ['monitor'], 'workflows/monitor.ts', [
    '    const seen = await monitorModel(',
    '    await sleep(1)\n    const seen = await monitorModel(',
  ]),
  planted('a skipped step of a retraining', ['retrain'], 'workflows/retrain.ts', [
    'const validation = await reading.validate(',
    "const validation = { verdict: 'pass', failures: [] } as never as Awaited<ReturnType<typeof reading.validate>>\n  if (asOf === '') await reading.validate(",
  ]),
  planted('an end that a cancellation interrupts', ['cancellation'], machine, [
    'return CancellationScope.nonCancellable(async () => {\n    if (steps.find() === undefined) {',
    'return CancellationScope.cancellable(async () => {\n    if (steps.find() === undefined) {',
  ]),
]

/** Changes that no event records; the tests of the release stages cover them. */
export const unnoticed: readonly PlantedChange[] = [
  planted('the length of a timer', [], 'domain/release/next-effect.ts', [
    'untilMs: state.enteredMs + state.policy.approval.withinMs',
    'untilMs: state.enteredMs + 2 * state.policy.approval.withinMs',
  ]),
  planted('the timeout of an activity', [], 'workflows/release/activities.ts', [
    "startToCloseTimeout: '20 s'",
    "startToCloseTimeout: '2 s'",
  ]),
  planted('the input of an activity', [], machine, [
    'recordRelease({ state: now, commands: [] })',
    'recordRelease({ state: { ...now, shareBp: 0 }, commands: [] })',
  ]),
]
