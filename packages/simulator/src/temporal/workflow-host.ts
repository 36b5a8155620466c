/**
 * Runs workflow code like a worker: feeds jobs to the real SDK's activator, collects commands, evicts runs at any time and rebuilds them
 * from the history. Detects a replay that produces other commands than the original execution.
 */
import { withScopes } from './sandbox.ts'
import { Activator } from '@temporalio/workflow/lib/internals.js'
import { maybeGetActivator, setActivator } from '@temporalio/workflow/lib/global-attributes.js'
import {
  activate,
  concludeActivation,
  initialize,
  tryUnblockConditions,
} from '@temporalio/workflow/lib/worker-interface.js'
import { epochMs, settle } from '../world.ts'

type Activation = Parameters<typeof activate>[0]
export type Job = NonNullable<Activation['jobs']>[number] & { variant?: string }
type Completion = ReturnType<typeof concludeActivation>
export type WorkflowCommand = NonNullable<NonNullable<Completion['successful']>['commands']>[number]

/** The jobs that the workflow received at once, and its commands. */
export interface ActivationBatch {
  atMs: number
  jobs: readonly Job[]
  commands: string
  continueAsNewSuggested: boolean
}

export interface RunInfo {
  workflowId: string
  runId: string
  firstRunId: string
  workflowType: string
}

export interface Host {
  /** Runs one workflow task. Throws an error that would fail the task. */
  run(
    info: RunInfo,
    history: readonly ActivationBatch[],
    fresh: Omit<ActivationBatch, 'commands'>,
  ): WorkflowCommand[]
  evict(runId: string): void
}

/** Returns the workflow time while the workflow's code runs. */
export const workflowTime = (): number | undefined => {
  const activator = maybeGetActivator()
  return activator === undefined ? undefined : activator.now
}

/** An unhandled rejection in workflow code fails the workflow task, as in a worker. */
const stepping: { isOn: boolean; unhandled?: { error: unknown } } = { isOn: false }
process.on('unhandledRejection', (error) => {
  if (!stepping.isOn) throw error as Error
  stepping.unhandled ??= { error }
})

type WorkflowFunction = NonNullable<InstanceType<typeof Activator>['workflow']>

/** Creates the part of a worker that runs workflow code. `onReplay` is told of each run that is rebuilt from its history. */
export function createHost(
  workflows: Readonly<Record<string, unknown>>,
  onReplay: (info: RunInfo, batches: number) => void = () => {},
): Host {
  /** Runs after a number of tasks, with the jobs of the last task. */
  const cache = new Map<
    string,
    { activator: InstanceType<typeof Activator>; upTo: number; jobs: readonly Job[] }
  >()

  const create = (info: RunInfo): InstanceType<typeof Activator> => {
    const start = new Date(epochMs)
    const activator = new Activator({
      info: {
        ...info,
        firstExecutionRunId: info.firstRunId,
        continuedFromExecutionRunId: info.runId === info.firstRunId ? undefined : info.firstRunId,
        attempt: 1,
        namespace: 'default',
        taskQueue: 'default',
        historyLength: 1,
        historySize: 1,
        continueAsNewSuggested: false,
        searchAttributes: {},
        typedSearchAttributes: undefined,
        startTime: start,
        runStartTime: start,
        taskTimeoutMs: 1_000,
        unsafe: {
          now: () => epochMs,
          random: () => 0.5,
          isReplaying: false,
          isReplayingHistoryEvents: false,
        },
      } as never,
      randomnessSeed: Array.from(info.runId, (each) => each.charCodeAt(0)),
      now: epochMs,
      patches: [],
      sourceMap: { version: 3, sources: [], names: [], mappings: '' } as never,
      showStackTraceSources: false,
      registeredActivityNames: new Set(),
      getTimeOfDay: () => 0n,
      stackTracesEnabled: false,
    } as unknown as ConstructorParameters<typeof Activator>[0])
    activator.workflow = workflows[info.workflowType] as WorkflowFunction
    return activator
  }

  const step = (
    activator: InstanceType<typeof Activator>,
    { atMs, jobs, continueAsNewSuggested }: Omit<ActivationBatch, 'commands'>,
    length: number,
  ): WorkflowCommand[] => {
    activator.now = atMs
    activator.mutateWorkflowInfo((info) => ({ ...info, continueAsNewSuggested, historyLength: length }))
    const first = jobs[0]
    if (first?.initializeWorkflow) initialize(first.initializeWorkflow)
    delete stepping.unhandled
    stepping.isOn = true
    activate({ jobs: [...jobs] })
    do settle()
    while (tryUnblockConditions() > 0)
    stepping.isOn = false
    const { successful } = concludeActivation()
    activator.getAndResetSinkCalls()
    const { unhandled } = stepping as { unhandled?: { error: unknown } }
    if (unhandled !== undefined) throw unhandled.error
    if (activator.workflowTaskError !== undefined) throw activator.workflowTaskError as Error
    return successful?.commands ?? []
  }

  return {
    evict: (runId) => void cache.delete(runId),
    run: (info, history, fresh) =>
      withScopes(() => {
        let kept = cache.get(info.runId)
        // A worker whose late result was refused holds the run with another last task.
        if (kept?.upTo !== history.length || kept.jobs !== history.at(-1)?.jobs) kept = undefined
        cache.delete(info.runId)
        const activator = kept?.activator ?? create(info)
        setActivator(activator)
        try {
          if (kept === undefined && history.length > 0) {
            onReplay(info, history.length)
            for (const [index, batch] of history.entries()) {
              const again = shapeOf(step(activator, batch, index))
              if (again !== batch.commands)
                throw new Error(`a replay asks for ${again} where the first run asked for ${batch.commands}`)
            }
          }
          const commands = step(activator, fresh, history.length)
          cache.set(info.runId, { activator, upTo: history.length + 1, jobs: fresh.jobs })
          return commands
        } finally {
          setActivator(undefined)
        }
      }),
  }
}

/** Returns the parts of commands that a replay must repeat: which commands, in which order. */
export const shapeOf = (commands: readonly WorkflowCommand[]): string =>
  commands
    .map((each) =>
      Object.keys(each)
        .filter((name) => !['userMetadata', 'eventGroupMarkers'].includes(name))
        .join('+'),
    )
    .join(' ')
