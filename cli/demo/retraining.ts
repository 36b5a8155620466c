/** Runs one retraining and prints its progress up to the offline gate. */
import { findEvaluation, type Evaluation } from '../../store/training/evaluations.ts'
import { listRetrainings, type Retraining } from '../../store/training/retrainings.ts'
import { findTrainingRun, findTraining, type TrainingRecord } from '../../store/training/trainings.ts'
import { retrainProgress, retrainWorkflowId, type RetrainProgress } from '../../workflows/messages.ts'
import { commandProblemOf } from '../client/client.ts'
import { comparisonOf } from './figures.ts'
import { lapseText, timeText } from './narrator.ts'
import { demoModel, type DemoWorld } from './world.ts'
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'

export interface Retrained {
  retraining: Retraining
  evaluation?: Evaluation
}

const pollMs = 300

const sentences: Readonly<Record<RetrainProgress['stage'], string>> = {
  opening: 'Starting',
  snapshot: 'Loading data as of that time',
  validate: 'Validating data',
  train: 'Training',
  adopt: 'Reading the artifact',
  evaluate: 'Evaluating against champion',
  refit: 'Training again on all matured rows',
  register: 'Registering the version',
  release: 'Starting the release',
  ended: 'Done',
}

/** Starts a retraining as of a time, follows it to its end and prints its evaluation. */
export async function trainChallenger(world: DemoWorld, asOfMs: number): Promise<Retrained> {
  const { narrator, scheduler } = world
  let before: string | undefined
  const start = async () => {
    before = (await newest(world))?.id
    await scheduler.post(`/v1/models/${demoModel}/retrainings`, {
      as_of: new Date(asOfMs).toISOString(),
      reason: 'next chapter of the demo',
      policy: storyPolicy,
    })
  }
  const line = () => `Waiting for the end of the retraining of ${demoModel} that you have started`
  await startAfterOthers(start, () => narrator.during(line, newestEnded(world)))
  narrator.print(`Retraining ${demoModel} on data as of ${timeText(asOfMs)}`)
  const retrained = await followRetraining(world, async () => {
    const found = await newest(world)
    return found?.id === before ? undefined : found
  })
  const { evaluation } = retrained
  if (evaluation !== undefined) narrator.print(...comparisonOf(evaluation, ['auc', 'brier']).split('\n'))
  return retrained
}

/** Starts a retraining; while another one of the model runs, waits for its end first. */
export async function startAfterOthers(
  start: () => Promise<void>,
  waitForEnd: () => Promise<void>,
): Promise<void> {
  for (;;)
    try {
      return await start()
    } catch (error) {
      if (commandProblemOf(error)?.code !== 'retraining_in_progress') throw error
      await waitForEnd()
    }
}

/** Resolves when the newest retraining has ended. */
async function newestEnded(world: DemoWorld): Promise<void> {
  do await new Promise((resolve) => setTimeout(resolve, pollMs))
  while ((await newest(world))?.endedAt === undefined)
}

/** Follows a retraining that was running when the demo was stopped. */
export async function finishRetraining(world: DemoWorld): Promise<Retrained | undefined> {
  const open = await newest(world)
  if (open === undefined || open.endedAt !== undefined) return undefined
  world.narrator.print('Continuing the interrupted retraining')
  return followRetraining(world, () => newest(world))
}

async function followRetraining(
  world: DemoWorld,
  find: () => Promise<Retraining | undefined>,
): Promise<Retrained> {
  const { narrator, store, temporal, definition } = world
  const handle = temporal.workflow.getHandle(retrainWorkflowId(demoModel))
  const epochs = Number(definition.hyperparameters['epochs'] ?? 0)
  const startedMs = Date.now()
  let progress: RetrainProgress = { stage: 'opening' }
  let training: TrainingRecord | undefined
  let trainedMs: number | undefined
  let ended: Retraining | undefined
  const look = async () => {
    while (ended === undefined) {
      const found = await find()
      progress = await handle.query(retrainProgress).catch(() => progress)
      if (progress.trainingId !== undefined) training = await findTraining(store, progress.trainingId)
      if (found?.endedAt !== undefined) {
        const run = training && (await findTrainingRun(store, training.id))
        trainedMs = run?.durationMs
        ended = found
      } else await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }
  const line = () => {
    if (ended !== undefined) return trainingSummary(training, { trainedMs, wholeMs: Date.now() - startedMs })
    const epoch = training?.epoch ?? 0
    if (progress.stage !== 'train' || epochs === 0) return `${sentences[progress.stage]} …`
    const loss = training?.curve.at(-1)?.loss
    return `${narrator.bar(epoch / epochs)} epoch ${epoch} of ${epochs}${loss === undefined ? '' : `, loss ${loss.toFixed(4)}`}`
  }
  await narrator.during(line, look())
  const evaluation =
    progress.evaluationId === undefined ? undefined : await findEvaluation(store, progress.evaluationId)
  return { retraining: ended as unknown as Retraining, evaluation }
}

/** Summarises the training stage of a retraining, from the start of its process to the stored artifact. */
function trainingSummary(
  training: TrainingRecord | undefined,
  { trainedMs, wholeMs }: { trainedMs?: number; wholeMs: number },
): string {
  const losses = (training?.curve ?? []).map(({ loss }) => loss.toFixed(4))
  if (losses.length === 0 || trainedMs === undefined) return `Ended after ${lapseText(wholeMs)}`
  return (
    `Trained in ${lapseText(trainedMs)}: ${losses.length} epochs, loss ${losses[0]} → ${losses.at(-1)}` +
    ` (${lapseText(wholeMs)} with snapshot, validation and evaluation)`
  )
}

async function newest({ store }: DemoWorld): Promise<Retraining | undefined> {
  return (await listRetrainings(store, { model: demoModel, limit: 1 }))[0]
}

/** A stage ends by its requests, which take some 5 s, and on a busy machine as long as they need. */
const byRequests = { minMs: 1_000, deadlineMs: 600_000 }

/** Defines the release policy of the demo: the stages of the model file with fewer requests, in seconds instead of hours. */
export const storyPolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 600_000 },
  shadow: { shareBp: 2_500, minRequests: 400, ...byRequests },
  stages: [
    { shareBp: 500, minRequests: 100, ...byRequests },
    { shareBp: 2_500, minRequests: 500, ...byRequests },
    { shareBp: 5_000, minRequests: 1_000, ...byRequests },
  ],
  probation: { holdbackBp: 500, minRequests: 2_000, ...byRequests },
  watch: { tickMs: 1_000, everyMs: 1_000, exposureMs: 5_000, acknowledgeMs: 3_000, decisionMs: 600_000 },
  limits: {
    ...defaultCanaryPolicy,
    maxStaleMs: 5_000,
    // A few thousand requests cannot prove non-inferiority, so time and counts decide.
    promotion: 'off',
    // Flight routes are sticky and of unequal size, so the share of flights deviates from the configured share.
    srm: { alpha: 0.001, tolerance: 0.5, designEffect: 50 },
  },
}
