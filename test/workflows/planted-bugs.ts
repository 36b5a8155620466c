/**
 * Changes of workflow code that would stop a workflow under way when they are deployed, each with the recorded histories that
 * notice; and changes that no history notices, because a replay compares what is asked for and not with what.
 */

import type { PlantedChange } from '../support/release/histories.ts'

const machine = 'workflows/release.ts'
/** Releases from their first run on, and all releases. */
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

/** The four that the ordinary suite replays. */
export const first: readonly PlantedChange[] = [
  planted(
    'two steps in another order',
    releases,
    machine,
    ['publish(opened())\n      if', 'await save()\n      if'],
    ['await save()\n      const', 'publish(opened())\n      const'],
  ),
  planted('an added timer', opened, machine, [
    'return qualifying.qualify(state)',
    'await sleep(1)\n      return qualifying.qualify(state)',
  ]),
  planted('a removed activity', releases, machine, [
    'await patient.recordRelease({ state: now, commands: [] })',
    '',
  ]),
  planted('a changed state machine', opened, 'domain/release/reducer.ts', [
    "enterStage(state, 'awaiting_approval', event.atMs)",
    'goOn(state, event.atMs)',
  ]),
]

export const further: readonly PlantedChange[] = [
  planted('an added activity', opened, machine, [
    'state = opening.state\n',
    'state = opening.state\n      await patient.findNextWaiting({ model: request.model })\n',
  ]),
  planted('another activity in the place of one', ['promotion'], machine, [
    'return patient.promote(state)',
    'return routing(state).route(state) as never',
  ]),
  planted(
    'a step that is recorded when it is over and not before it begins',
    releases,
    machine,
    ['      await save()\n      const effect', '      const effect'],
    ['const event = await attempt(effect)\n', 'const event = await attempt(effect)\n      await save()\n'],
  ),
  planted('a patch that is removed too early', ['crowded'], 'workflows/release/command-handlers.ts', [
    "crowded = patched('hands-over-when-crowded')",
    'crowded = true',
  ]),
  planted(
    'a change that has no patch: a run hands over elsewhere',
    ['crowded'],
    'workflows/release/command-handlers.ts',
    ['const mostReceived = 250', 'const mostReceived = 50'],
  ),
  planted('a handler of signals that is gone', ['abort'], 'workflows/release/command-handlers.ts', [
    'setHandler(commandSignals[name], (sent)',
    "if (name !== 'abort') setHandler(commandSignals[name], (sent)",
  ]),
  planted('a handler that does nothing any more', ['superseded'], machine, [
    'if (state !== undefined && !shut) await offerSupersede()',
    '',
  ]),
  planted(
    'what the run before has handed over, forgotten',
    ['carried'],
    'workflows/release/command-handlers.ts',
    ['[...(carried?.pending ?? [])]', '[]'],
  ),
  planted('another id of a child', ['drill', 'queue', 'retrain'], 'workflows/messages.ts', [
    'releaseWorkflowId = (model: string): string => `release/',
    'releaseWorkflowId = (model: string): string => `releases/',
  ]),
  planted(
    'steps that are left alone where they were cancelled',
    ['abort', 'cancellation'],
    'workflows/release/activities.ts',
    ['ActivityCancellationType.TRY_CANCEL', 'ActivityCancellationType.ABANDON'],
  ),
  planted('a window that is waited for before it is looked at', ['monitor'], 'workflows/monitor.ts', [
    '    const seen = await monitorModel(',
    '    await sleep(1)\n    const seen = await monitorModel(',
  ]),
  planted('a step of a retraining that is left out', ['retrain'], 'workflows/retrain.ts', [
    'const validation = await reading.validate(',
    "const validation = { verdict: 'pass', failures: [] } as never as Awaited<ReturnType<typeof reading.validate>>\n  if (asOf === '') await reading.validate(",
  ]),
  planted('an end that a cancellation reaches too', ['cancellation'], machine, [
    'return CancellationScope.nonCancellable(async () => {\n    if (state === undefined) {',
    'return CancellationScope.cancellable(async () => {\n    if (state === undefined) {',
  ]),
]

/** No event holds what these change. What they would do to a release is seen by the tests of its stages. */
export const unnoticed: readonly PlantedChange[] = [
  planted('the length of a timer', [], 'domain/release/next-effect.ts', [
    'untilMs: state.enteredMs + state.policy.approval.withinMs',
    'untilMs: state.enteredMs + 2 * state.policy.approval.withinMs',
  ]),
  planted('how long an activity may take', [], 'workflows/release/activities.ts', [
    "startToCloseTimeout: '20 s'",
    "startToCloseTimeout: '2 s'",
  ]),
  planted('what an activity is given', [], machine, [
    'recordRelease({ state: now, commands: [] })',
    'recordRelease({ state: { ...now, shareBp: 0 }, commands: [] })',
  ]),
]
