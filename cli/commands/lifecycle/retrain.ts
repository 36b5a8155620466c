/** `tenure retrain`: starts a retraining and optionally follows it to its end. */
import { idsOfRun } from '../../../domain/training/runs.ts'
import { capitalized } from '../../../domain/figures.ts'
import { failedText } from '../../../domain/validation/check-rows.ts'
import { lossText } from '../../../api/charts/loss.ts'
import type {
  ReleaseAnswer,
  EvaluationAnswer,
  RecordedAnswer,
  RetrainingAnswer,
  TrainingAnswer,
} from '../../client/responses.ts'
import { failure, path } from '../../client/client.ts'
import { exitCodes, type ExitCode } from '../../exit-codes.ts'
import type { CommandSpec, CommandSession } from '../../program.ts'
import { barOf, type Terminal } from '../../terminal.ts'
import { deferredText, type CommandReply } from '../deferred.ts'
import { checksTable } from '../checks-table.ts'
import { follow } from '../follow.ts'
import { hintOfChangedFile, hintOfFirstVersion } from '../../sync/changed-file.ts'
import { coloured, orDash } from '../format.ts'
import { asOfOption, readOverrides } from './training-options.ts'
import { gateTable } from './releases.ts'

/** Outcomes that produce a new version. */
const good = ['released', 'registered']
/** `refit` is shown once it has begun. */
const stages = ['snapshot', 'validate', 'train', 'evaluate', 'refit', 'register', 'release'] as const
/** The stages for a brought artifact. */
const broughtStages = stages.map((stage) => (stage === 'train' ? 'adopt' : stage))

export const retrainCommand: CommandSpec = {
  name: 'retrain <model>',
  summary: 'Train a challenger and release it if it passes the gates',
  options: [
    asOfOption,
    ['--reason <text>', 'Reason, stored with the retraining'],
    ['--set <name=value…>', 'Value of a hyperparameter, instead of the one in the model file'],
    ['--watch', 'Show stages and loss until the end; exit code 6 if there is no new version'],
  ],
  examples: [
    'retrain iris',
    'retrain iris --watch',
    'retrain iris --set units=32 --set epochs=60 --watch',
    'retrain flight-delay --as-of 2001-02-05T00:00:00Z --watch',
  ],
  async run(session, { args, options, lists }) {
    const { api } = session
    const model = String(args[0])
    const asOf = options['asOf']
    const started = await api().post<StartedReply>(path`/v1/models/${model}/retrainings`, {
      as_of: asOf,
      reason: options['reason'],
      hyperparameters: readOverrides(lists['set']),
    })
    await warnOfChangedFile(session, model)
    return printStarted(session, { model, started, watch: options['watch'] === true })
  },
}

/** Warns if the model file was edited without a sync, and if the first version of a model will wait for an approval that no policy asks for. */
export async function warnOfChangedFile({ api, terminal }: CommandSession, model: string): Promise<void> {
  const hints = [await hintOfChangedFile(api(), model), await hintOfFirstVersion(api(), model)]
  for (const hint of hints) if (hint !== undefined) terminal.complain(terminal.paint('yellow', hint))
}

/** Prints that a retraining has started, or follows it to its end. */
export async function printStarted(
  session: CommandSession,
  {
    model,
    started,
    watch,
    doing: [doing, what] = [`Retraining ${model}`, 'the retraining'],
  }: { model: string; started: StartedReply; watch: boolean; doing?: readonly [now: string, what: string] },
): Promise<ExitCode | void> {
  const { terminal } = session
  const deferred = deferredText(model, started)
  if (!watch)
    return terminal.answer(
      started,
      deferred ?? `${doing}. Status: \`tenure retrainings show ${model}\`; add --watch to follow ${what}.`,
    )
  if (deferred !== undefined) terminal.say(deferred)
  const id = deferred === undefined ? started.id : await deliveredId(session, started.id)
  const { ended, seen } = await followRetraining(session, id)
  await printFollowed(session, { ended, seen })
  return good.includes(ended.outcome ?? '') ? exitCodes.done : exitCodes.otherwise
}

interface Followed {
  ended: RetrainingAnswer
  seen: Observed
}

/** Prints the loss, the end and the gates of the followed retraining. Returns the gate verdict, if there is one. */
export async function printFollowed(
  session: CommandSession,
  { ended, seen }: Followed,
  note = '',
): Promise<{ verdict?: string }> {
  const { terminal } = session
  const curve = await curveOf(session, seen)
  const chart = curve.length > 1 ? `${lossText(curve, { width: Math.min(terminal.columns, 76) })}\n` : ''
  const gate = await findGate(session, seen)
  const next =
    ended.outcome === 'released' && ended.model !== undefined ? await nextStep(session, ended.model) : ''
  const last = [note, next].filter((line) => line !== '').map((line) => `\n${line}`)
  terminal.answer(
    { ...ended, curve, ...(note === '' ? {} : { evaluation: gate }) },
    `${chart}${coloured(terminal, ended.outcome)}: ${endText(ended)}${[ended.remedy, ended.refit && capitalized(ended.refit)].map((line) => (line === undefined ? '' : `\n      ${line}`)).join('')}${checksTable(terminal, ended.validation)}${gate === undefined ? '' : gateTable(terminal, gate)}${last.join('')}`,
  )
  return { verdict: gate?.verdict }
}

/** Prints how far a retraining or a trial is, or as `printFollowed` one that has ended. */
export async function printShown(session: CommandSession, shown: RetrainingAnswer): Promise<void> {
  const { terminal } = session
  const { stage = 'opening', training_id: trainingId, evaluation_id: evaluationId } = shown
  if (shown.outcome === undefined)
    return terminal.answer(shown, `running: ${stage}${checksTable(terminal, shown.validation)}`)
  await printFollowed(session, {
    ended: shown,
    seen: { began: new Map(), curve: [], trainingId, evaluationId },
  })
}

/** The rows of a table tell why data was quarantined. */
const endText = ({ message, validation }: RetrainingAnswer): string =>
  validation?.verdict === 'block' ? failedText(validation) : (message ?? '')

/** Names the command that follows a release: the approval, where the release waits for one already. */
async function nextStep({ api }: CommandSession, model: string): Promise<string> {
  const { releases } = await api()
    .get<{ releases: ReleaseAnswer[] }>('/v1/releases', { model, open: true })
    .catch(() => ({ releases: [] }))
  const waits = releases.find(({ stage }) => stage === 'awaiting_approval')
  return waits === undefined
    ? `Follow the release: \`tenure releases show ${model}\``
    : `${orDash(waits.why)} Approve it as another user: \`tenure approve ${model}\``
}

/** Waits until a queued start is delivered, and returns the id of the started retraining. Throws `command_refused` if none was started. */
async function deliveredId({ terminal, api }: CommandSession, command: string): Promise<string> {
  const read = () => api().get<RecordedAnswer>(path`/v1/commands/${command}`)
  const { started, message } = await follow(terminal, read, ({ state }) => state !== 'waiting')
  if (started?.id === undefined) throw failure({ code: 'command_refused', detail: message })
  return started.id
}

export type StartedReply = CommandReply & { id: string; workflow_id: string }

/** Cancels a retraining and waits until its process has exited. */
export async function cancelRetraining(session: CommandSession, id: string, reason: unknown): Promise<void> {
  const { terminal, api } = session
  await api().post(path`/v1/retrainings/${id}/cancel`, { reason })
  const { ended } = await followRetraining(session, id)
  terminal.answer(ended, `${coloured(terminal, ended.outcome)}: ${ended.message ?? ''}`)
}

/** What the polls have observed. Several epochs may pass between two polls. */
interface Observed {
  /** Stage → time of its first observation, on this process's clock. */
  began: Map<string, number>
  curve: { epoch: number; loss: number }[]
  trainingId?: string
  evaluationId?: string
  waiting?: string
}

const followRetraining = (session: CommandSession, id: string): Promise<Followed> =>
  followTraining(session, () => session.api().get<RetrainingAnswer>(path`/v1/retrainings/${id}`))

/** Shows the stages until the outcome. */
export async function followTraining(
  { terminal }: CommandSession,
  read: () => Promise<RetrainingAnswer>,
): Promise<Followed> {
  const seen: Observed = { began: new Map(), curve: [] }
  const note = ({ training_id: trainingId, evaluation_id: evaluationId }: RetrainingAnswer) => {
    if (trainingId !== undefined) seen.trainingId = trainingId
    if (evaluationId !== undefined) seen.evaluationId = evaluationId
  }
  const show = (now: RetrainingAnswer) => {
    const { stage = 'opening', epoch, loss } = now
    note(now)
    if (!terminal.interactive && !seen.began.has(stage)) terminal.say(`${stage} …`)
    if (!seen.began.has(stage)) seen.began.set(stage, performance.now())
    if (!terminal.interactive && now.waiting !== undefined && now.waiting !== seen.waiting)
      terminal.complain(now.waiting)
    seen.waiting = now.waiting
    if (epoch !== undefined && typeof loss === 'number' && seen.curve.at(-1)?.epoch !== epoch)
      seen.curve.push({ epoch, loss })
    terminal.live(linesOf(terminal, now, seen))
  }
  const ended = await follow(terminal, read, ({ outcome }) => outcome !== undefined, show)
  // A short retraining ends before the first poll.
  note(ended)
  terminal.live([])
  return { ended, seen }
}

/** Draws one line per stage; the training stage also has a progress bar and the loss curve. */
function linesOf({ paint, columns }: Terminal, now: RetrainingAnswer, { began, curve }: Observed): string[] {
  const isBrought = began.has('adopt')
  const shown: readonly string[] = (isBrought ? broughtStages : stages).filter(
    (stage) => stage !== 'refit' || began.has(stage),
  )
  const current = shown.indexOf(now.stage ?? '')
  return shown.flatMap((stage, index) => {
    if (index > current) return [paint('dim', `○ ${stage}`)]
    const next = shown.slice(index + 1).find((each) => began.has(each))
    const since = began.get(stage)
    const until = next === undefined ? performance.now() : began.get(next)!
    const lasted = since === undefined ? '' : `  ${((until - since) / 1_000).toFixed(1)} s`
    if (index < current) return [`${paint('green', '✔')} ${stage}${paint('dim', lasted)}`]
    const head = `${paint('yellow', '●')} ${paint('bold', stage)}${paint('dim', lasted)}`
    if (now.waiting !== undefined) return [head, `  ${paint('yellow', now.waiting)}`]
    if (stage !== 'train' || now.epoch === undefined || now.epochs === undefined) return [head]
    const bar = `  ${barOf(now.epoch / now.epochs, 30)} epoch ${now.epoch} of ${now.epochs}, loss ${now.loss?.toFixed(4) ?? '–'}`
    const chart = curve.length > 1 ? lossText(curve, { width: Math.min(columns, 70) }).split('\n') : []
    return [head, bar, ...chart.map((line) => `  ${line}`)]
  })
}

/** Returns the gate metrics for any verdict, because they explain a refusal. */
async function findGate(
  { api }: CommandSession,
  { trainingId, evaluationId }: Observed,
): Promise<EvaluationAnswer | undefined> {
  // The last stages may pass between two polls.
  const id = evaluationId ?? (trainingId && idsOfRun(trainingId.slice('trn_'.length)).evaluationId)
  if (id === undefined) return undefined
  return api()
    .get<EvaluationAnswer>(path`/v1/evaluations/${id}`)
    .catch(() => undefined)
}

/** Reads the full loss curve from the API, or returns the observed epochs if the API fails. */
async function curveOf({ api }: CommandSession, { trainingId, curve }: Observed): Promise<Observed['curve']> {
  if (trainingId === undefined) return curve
  const training = await api()
    .get<TrainingAnswer>(path`/v1/trainings/${trainingId}`)
    .catch(() => undefined)
  return training?.curve.filter(({ loss }) => typeof loss === 'number') ?? curve
}
