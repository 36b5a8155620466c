/**
 * Emulates a Temporal server: durable histories, task queues, retries, timers, signals and updates. Activities run
 * at least once: a worker may crash before it reports a result, and a frozen worker may wake up after another has taken over.
 */
import { asyncLocalStorage } from '@temporalio/activity'
import {
  CancelledFailure,
  defaultFailureConverter,
  defaultPayloadConverter,
  type Payload,
} from '@temporalio/common'
import { optionalTsToMs, tsToMs } from '@temporalio/common/lib/time.js'
import {
  shapeOf,
  type ActivationBatch,
  type WorkflowCommand,
  type Host,
  type Job,
  type RunInfo,
} from './workflow-host.ts'
import { activityContext } from './activity-context.ts'
import { epochMs, type Machine, type World } from '../world.ts'

type Activities = Readonly<Record<string, (...input: never[]) => Promise<unknown>>>

export interface Worker {
  machine: Machine
  host: Host
  activities: Activities
}

export interface Execution {
  info: RunInfo
  input: Payload[]
  batches: ActivationBatch[]
  fresh: Job[]
  task?: { id: number; batch: Omit<ActivationBatch, 'commands'>; worker: Worker; stop: () => void }
  givenUp: number
  sticky?: Worker
  activities: Map<number, Activity>
  timers: Map<number, () => void>
  updates: Map<string, { tell?: (answer: UpdateAnswer) => void; answer?: UpdateAnswer }>
  closed?: { kind: 'completed' | 'failed' | 'continued' | 'terminated'; result?: unknown }
  waitsForWorker: boolean
}

export type UpdateAnswer = { result: unknown } | { failure: string }

interface Activity {
  seq: number
  type: string
  input: unknown[]
  attempt: number
  beatMs: number
  startedMs: number
  cancelRequested: boolean
  isOver: boolean
  heartbeatMs: number
  startToCloseMs: number
  retry: { initialMs: number; coefficient: number; longestMs: number; mostAttempts: number }
}

/** Receives the events of a run, for its properties and its trace. What is absent does nothing. */
export interface Watcher {
  scheduled?(info: RunInfo, type: string, input: unknown[]): void
  completed?(info: RunInfo, type: string, result: unknown, input: unknown[]): void
  /** A worker starts the activity. Everything before its first await is done, even if the worker crashes here. */
  begins?(worker: Worker, type: string): void
  /** The activity has a result, but is cancelled before the workflow receives the result. */
  overtaken?(info: RunInfo, type: string): void
  /** Returns how long the worker delays the result, in milliseconds. */
  lateMs?(worker: Worker, type: string, result: unknown): number
  taskFailed?(info: RunInfo, error: unknown): void
  closed?(execution: Execution): void
  /** Returns whether the worker crashes now, after the work and before its report. */
  diesBeforeTelling?(worker: Worker, type: string): boolean
}

export interface Temporal {
  machine: Machine
  start(type: string, workflowId: string, args: unknown[]): string | undefined
  signal(workflowId: string, name: string, arg: unknown): boolean
  update(
    workflowId: string,
    name: string,
    id: string,
    arg: unknown,
    tell: (answer: UpdateAnswer) => void,
  ): void
  cancel(workflowId: string): void
  terminate(workflowId: string): void
  running(workflowId: string): Execution | undefined
  all(): Execution[]
}

export interface TemporalOptions {
  world: World
  /** The server. Default: a machine of the name `temporal`. */
  machine?: Machine
  workers: readonly Worker[]
  watcher?: Watcher
  /** After this number of tasks a run is asked to continue as new. Default: 1,000. */
  longHistory?: number
}

const taskTimeoutMs = 1_500
const lookAgainMs = 150

const payload = (value: unknown): Payload => defaultPayloadConverter.toPayload(value) as Payload
const payloads = (values: unknown[]): Payload[] => values.map(payload)
const valueOf = (each: Payload): unknown => defaultPayloadConverter.fromPayload(each)

const priority = (job: Job): number =>
  job.initializeWorkflow ? 0 : job.signalWorkflow || job.doUpdate ? 1 : 2

export function createTemporal({
  world,
  machine = world.machine('temporal'),
  workers,
  watcher = {},
  longHistory = 1_000,
}: TemporalOptions): Temporal {
  const executions: Execution[] = []
  let runs = 0
  let tasks = 0
  const running = (workflowId: string) =>
    executions.findLast(({ info, closed }) => info.workflowId === workflowId && closed === undefined)
  const add = (execution: Execution, variant: string, body: object): void => {
    if (execution.closed !== undefined) return
    execution.fresh.push({ variant, [variant]: body } as unknown as Job)
    dispatch(execution)
  }
  const alive = (): Worker | undefined => {
    const up = workers.filter((worker) => worker.machine.isUp)
    const awake = up.filter((worker) => worker.machine.frozenUntil <= world.now() || world.chance(0.2))
    return up.length === 0 ? undefined : world.pick(awake.length > 0 ? awake : up)
  }

  /** Assigns a workflow task to a worker; a lost task is assigned again. */
  const dispatch = (execution: Execution): void => {
    if (execution.closed || execution.task || execution.fresh.length === 0) return
    const { sticky } = execution
    const worker = sticky?.machine.isUp === true ? sticky : alive()
    if (worker === undefined) {
      if (execution.waitsForWorker) return
      execution.waitsForWorker = true
      world.after(machine, lookAgainMs, () => {
        execution.waitsForWorker = false
        dispatch(execution)
      })
      return
    }
    const jobs = execution.fresh.splice(0).sort((a, b) => priority(a) - priority(b))
    const atMs = Math.max(
      execution.batches.at(-1)?.atMs ?? 0,
      Math.floor(epochMs + world.now() + machine.wallOffMs),
    )
    const batch = { atMs, jobs, continueAsNewSuggested: execution.batches.length >= longHistory }
    const id = ++tasks
    const giveUp = (why: unknown) => {
      if (execution.task?.id !== id) return
      execution.task.stop()
      delete execution.task
      delete execution.sticky
      worker.host.evict(execution.info.runId)
      execution.fresh.unshift(...jobs)
      execution.givenUp++
      if (why !== undefined) watcher.taskFailed?.(execution.info, why)
      world.after(machine, 50, () => dispatch(execution))
    }
    const stop = world.after(machine, taskTimeoutMs, () => giveUp(undefined))
    execution.task = { id, batch, worker, stop }
    const { host, machine: at } = worker
    // Copied when it is sent: a frozen worker executes an old task on the old history.
    const history = [...execution.batches]
    world.send(machine, at, () => {
      try {
        const commands = host.run(execution.info, history, batch)
        world.send(at, machine, () => conclude(execution, id, worker, commands))
      } catch (error) {
        host.evict(execution.info.runId)
        world.send(at, machine, () => giveUp(error))
      }
    })
  }

  const conclude = (execution: Execution, id: number, worker: Worker, commands: WorkflowCommand[]): void => {
    const { task } = execution
    if (execution.closed) return
    // The server refuses the result of a task that it has reassigned, and the worker evicts the run.
    if (task?.id !== id) return worker.host.evict(execution.info.runId)
    task.stop()
    delete execution.task
    const closes = commands.some(
      (each) =>
        each.completeWorkflowExecution ?? each.failWorkflowExecution ?? each.continueAsNewWorkflowExecution,
    )
    if (closes && execution.fresh.some((job) => job.signalWorkflow)) {
      // A run must not end with an unseen signal: the task is repeated with it.
      worker.host.evict(execution.info.runId)
      delete execution.sticky
      execution.fresh.unshift(...task.batch.jobs)
      return dispatch(execution)
    }
    execution.sticky = worker
    execution.givenUp = 0
    execution.batches.push({ ...task.batch, commands: shapeOf(commands) })
    for (const command of commands) obey(execution, command)
    dispatch(execution)
  }

  /** A worker resolves a cancelled activity for its workflow at once, and drops the result that comes with the next task. */
  const overtake = (execution: Execution, { seq, type }: Activity): void => {
    const at = execution.fresh.findIndex((job) => job.resolveActivity?.seq === seq)
    if (at < 0) return
    const failure = failureOf(new CancelledFailure('Activity cancelled'))
    const resolveActivity = { seq, result: { cancelled: { failure } } }
    execution.fresh[at] = { variant: 'resolveActivity', resolveActivity } as unknown as Job
    watcher.overtaken?.(execution.info, type)
  }

  const obey = (execution: Execution, command: WorkflowCommand): void => {
    if (command.startTimer) {
      const { seq, startToFireTimeout } = command.startTimer
      const fire = () => {
        execution.timers.delete(seq!)
        add(execution, 'fireTimer', { seq })
      }
      execution.timers.set(seq!, world.after(machine, tsToMs(startToFireTimeout), fire))
    } else if (command.cancelTimer) {
      const { seq } = command.cancelTimer
      execution.timers.get(seq!)?.()
      execution.timers.delete(seq!)
    } else if (command.scheduleActivity) schedule(execution, command.scheduleActivity)
    else if (command.requestCancelActivity) {
      const activity = execution.activities.get(command.requestCancelActivity.seq!)
      if (!activity) return
      if (activity.isOver) return overtake(execution, activity)
      activity.cancelRequested = true
      finish(execution, activity, {
        cancelled: { failure: failureOf(new CancelledFailure('Activity cancelled')) },
      })
    } else if (command.updateResponse) {
      const { protocolInstanceId, rejected, completed } = command.updateResponse
      const update = execution.updates.get(protocolInstanceId!)
      if (!update || (!rejected && !completed)) return
      update.answer = rejected
        ? { failure: rejected.message ?? '' }
        : { result: completed ? valueOf(completed as Payload) : undefined }
      update.tell?.(update.answer)
    } else if (command.completeWorkflowExecution) {
      const { result } = command.completeWorkflowExecution
      close(execution, 'completed', result ? valueOf(result as Payload) : undefined)
    } else if (command.failWorkflowExecution)
      close(execution, 'failed', command.failWorkflowExecution.failure?.message)
    else if (command.continueAsNewWorkflowExecution) {
      const { arguments: input } = command.continueAsNewWorkflowExecution
      const left = execution.fresh.splice(0)
      close(execution, 'continued', undefined)
      const next = open(execution.info, input as Payload[], execution.info.firstRunId)
      for (const job of left) if (job.doUpdate) next.fresh.push(job)
      for (const [id, update] of execution.updates) next.updates.set(id, update)
      dispatch(next)
    } else if (command.signalExternalWorkflowExecution) {
      const { seq, workflowExecution, signalName, args } = command.signalExternalWorkflowExecution
      const other = running(workflowExecution!.workflowId!)
      if (other) add(other, 'signalWorkflow', { signalName, input: args })
      const failure = failureOf(new Error('no such workflow runs'))
      add(execution, 'resolveSignalExternalWorkflow', other ? { seq } : { seq, failure })
    } else if (
      !command.upsertWorkflowSearchAttributes &&
      !command.modifyWorkflowProperties &&
      !command.setPatchMarker
    )
      throw new Error(`the simulated Temporal does not know the command ${shapeOf([command])}`)
  }

  const close = (
    execution: Execution,
    kind: NonNullable<Execution['closed']>['kind'],
    result: unknown,
  ): void => {
    execution.closed = { kind, result }
    execution.task?.stop()
    delete execution.task
    for (const stop of execution.timers.values()) stop()
    for (const activity of execution.activities.values()) {
      activity.isOver = true
      activity.cancelRequested = true
    }
    for (const worker of workers) worker.host.evict(execution.info.runId)
    if (kind !== 'continued')
      for (const update of execution.updates.values())
        if (!update.answer) update.tell?.({ failure: 'the workflow is over' })
    watcher.closed?.(execution)
  }

  const schedule = (
    execution: Execution,
    command: NonNullable<WorkflowCommand['scheduleActivity']>,
  ): void => {
    const { seq, activityType, arguments: args, retryPolicy, heartbeatTimeout, startToCloseTimeout } = command
    const activity: Activity = {
      seq: seq!,
      type: activityType!,
      input: ((args ?? []) as Payload[]).map(valueOf),
      attempt: 0,
      beatMs: 0,
      startedMs: 0,
      cancelRequested: false,
      isOver: false,
      heartbeatMs: optionalTsToMs(heartbeatTimeout) ?? Infinity,
      startToCloseMs: optionalTsToMs(startToCloseTimeout) ?? Infinity,
      retry: {
        initialMs: optionalTsToMs(retryPolicy?.initialInterval) ?? 1_000,
        coefficient: retryPolicy?.backoffCoefficient ?? 2,
        longestMs: optionalTsToMs(retryPolicy?.maximumInterval) ?? 100_000,
        mostAttempts: retryPolicy?.maximumAttempts || Infinity,
      },
    }
    execution.activities.set(seq!, activity)
    watcher.scheduled?.(execution.info, activity.type, activity.input)
    attempt(execution, activity)
  }

  const finish = (execution: Execution, activity: Activity, result: object): void => {
    activity.isOver = true
    add(execution, 'resolveActivity', { seq: activity.seq, result })
  }

  const again = (execution: Execution, activity: Activity): void => {
    const { initialMs, coefficient, longestMs } = activity.retry
    const pauseMs = Math.min(longestMs, initialMs * coefficient ** (activity.attempt - 1))
    world.after(machine, pauseMs, () => attempt(execution, activity))
  }

  const failed = (execution: Execution, activity: Activity, token: number, error: unknown): void => {
    if (activity.isOver || activity.attempt !== token) return
    const failure = failureOf(error)
    world.tell(`   ${activity.type}, attempt ${token}, failed: ${failure.message}`)
    const isFinal = failure.applicationFailureInfo?.nonRetryable === true
    if (!isFinal && activity.attempt < activity.retry.mostAttempts) return again(execution, activity)
    finish(execution, activity, {
      failed: {
        failure: {
          message: 'Activity task failed',
          source: 'TypeScriptSDK',
          cause: failure,
          activityFailureInfo: { activityType: { name: activity.type }, activityId: String(activity.seq) },
        },
      },
    })
  }

  const attempt = (execution: Execution, activity: Activity): void => {
    if (activity.isOver || execution.closed) return
    const worker = alive()
    if (worker === undefined) {
      world.after(machine, lookAgainMs, () => attempt(execution, activity))
      return
    }
    const token = ++activity.attempt
    activity.beatMs = activity.startedMs = world.now()
    const watch = () => {
      if (activity.isOver || activity.attempt !== token) return
      const now = world.now()
      const endsMs = Math.min(
        activity.beatMs + activity.heartbeatMs,
        activity.startedMs + activity.startToCloseMs,
      )
      if (now >= endsMs - 1e-6) failed(execution, activity, token, new Error('activity timed out'))
      else world.after(machine, endsMs - now, watch)
    }
    world.after(machine, Math.min(activity.heartbeatMs, activity.startToCloseMs), watch)
    world.send(machine, worker.machine, () => perform(execution, activity, token, worker))
  }

  /** Executes the activity on the worker, as the SDK does. */
  const perform = (execution: Execution, activity: Activity, token: number, worker: Worker): void => {
    const { machine: at } = worker
    const { life } = at
    const controller = new AbortController()
    const context = activityContext({
      world,
      machine,
      at,
      execution,
      activity,
      token,
      controller,
      running,
    })
    const { input } = activity
    const work = worker.activities[activity.type]
    if (work === undefined) throw new Error(`the simulated worker has no activity ${activity.type}`)
    const notify = (act: () => void) => {
      if (at.life !== life || !at.isUp) return
      world.send(at, machine, act)
    }
    watcher.begins?.(worker, activity.type)
    asyncLocalStorage
      .run(context, () => work(...(input as never[])))
      .then(
        (result) => {
          if (watcher.diesBeforeTelling?.(worker, activity.type) === true) return
          const sent = result === undefined ? undefined : payload(result)
          const report = () => {
            if (activity.isOver || activity.attempt !== token || execution.closed) return
            watcher.completed?.(execution.info, activity.type, result, input)
            finish(execution, activity, { completed: sent ? { result: sent } : {} })
          }
          const lateMs = watcher.lateMs?.(worker, activity.type, result) ?? 0
          if (lateMs === 0) notify(report)
          else world.after(at, lateMs, () => notify(report))
        },
        (error: unknown) => notify(() => failed(execution, activity, token, error)),
      )
  }

  const open = (
    from: Pick<RunInfo, 'workflowId' | 'workflowType'>,
    input: Payload[],
    firstRunId?: string,
  ): Execution => {
    const runId = `run-${++runs}`
    const { workflowId, workflowType } = from
    const execution: Execution = {
      info: { workflowId, workflowType, runId, firstRunId: firstRunId ?? runId },
      input,
      batches: [],
      fresh: [],
      activities: new Map(),
      timers: new Map(),
      updates: new Map(),
      waitsForWorker: false,
      givenUp: 0,
    }
    executions.push(execution)
    add(execution, 'initializeWorkflow', {
      workflowId,
      workflowType,
      arguments: input,
      headers: {},
      randomnessSeed: 1,
    })
    return execution
  }

  return {
    machine,
    running,
    all: () => executions,
    start(type, workflowId, args) {
      if (running(workflowId)) return undefined
      return open({ workflowId, workflowType: type }, payloads(args)).info.runId
    },
    signal(workflowId, name, arg) {
      const execution = running(workflowId)
      if (execution) add(execution, 'signalWorkflow', { signalName: name, input: payloads([arg]) })
      return execution !== undefined
    },
    update(workflowId, name, id, arg, tell) {
      const execution = running(workflowId)
      if (!execution) return tell({ failure: 'no such workflow runs' })
      const known = execution.updates.get(id)
      if (known) {
        known.tell = tell
        if (known.answer) tell(known.answer)
        return
      }
      execution.updates.set(id, { tell })
      add(execution, 'doUpdate', {
        id,
        protocolInstanceId: id,
        name,
        input: payloads([arg]),
        headers: {},
        runValidator: true,
      })
    },
    cancel(workflowId) {
      const execution = running(workflowId)
      if (execution) add(execution, 'cancelWorkflow', { reason: '' })
    },
    terminate(workflowId) {
      const execution = running(workflowId)
      if (execution) close(execution, 'terminated', undefined)
    },
  }
}

const failureOf = (error: unknown) => {
  const failure = defaultFailureConverter.errorToFailure(error, defaultPayloadConverter)
  return { ...failure, stackTrace: '' }
}
