/** `tenure retrain`: asks for a challenger, and follows it when told to. */
import { lossText } from '../../../charts/loss.ts'
import type { RetrainingAnswer, TrainingAnswer } from '../../client/responses.ts'
import { failure } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec, Session } from '../../program.ts'
import { barOf, type Terminal } from '../../terminal.ts'
import { isDeferredAnswer, deferredText, type Answered } from '../deferred.ts'
import { coloured } from '../format.ts'

const pollMs = 500
/** Outcomes after which there is a new version, or a release of one. */
const good = ['released', 'registered']
/** In their order; what a person sees of each while it goes on, and when it is over. */
const stages = ['snapshot', 'validate', 'train', 'evaluate', 'register', 'release'] as const

export const retrainCommand: CommandSpec = {
  name: 'retrain <model>',
  summary: 'trains a challenger on what was known at a moment, and releases it if it is good enough',
  options: [
    ['--as-of <time>', 'use what was known then (ISO 8601; default: now)'],
    ['--reason <text>', 'why; it stands in the record'],
    ['--watch', 'show stages and loss until its end; exit code 6 when it leads to no version'],
  ],
  examples: [
    'retrain iris',
    'retrain iris --watch',
    'retrain flight-delay --as-of 2001-02-05T00:00:00Z --watch',
  ],
  async run(session, { args, options }) {
    const { terminal, api } = session
    const asOf = options['asOf']
    if (asOf !== undefined && Number.isNaN(Date.parse(String(asOf))))
      throw failure({
        code: 'usage',
        detail: `--as-of is a time such as 2001-02-05T00:00:00Z, not ${String(asOf)}`,
      })
    const started = await api().post<Answered & { id: string; workflow_id: string }>(
      `/v1/models/${encodeURIComponent(String(args[0]))}/retrainings`,
      {
        as_of: asOf === undefined ? undefined : new Date(String(asOf)).toISOString(),
        reason: options['reason'],
      },
    )
    if (isDeferredAnswer(started)) return terminal.answer(started, deferredText(String(args[0]), started))
    if (options['watch'] !== true)
      return terminal.answer(
        started,
        `${started.workflow_id} has started; \`tenure retrain --watch\` would have waited.`,
      )
    const { ended, seen } = await follow(session, started.id)
    const curve = await curveOf(session, seen)
    const chart = curve.length > 1 ? `${lossText(curve, { width: Math.min(terminal.columns, 76) })}\n` : ''
    terminal.answer(
      { ...ended, curve },
      `${chart}${coloured(terminal, ended.outcome)}: ${ended.message ?? ''}`,
    )
    return good.includes(ended.outcome ?? '') ? exitCodes.done : exitCodes.otherwise
  },
}

/** What was seen on the way: epochs may pass between two looks. */
interface Seen {
  /** Stage → when it was seen first, on this process's clock. */
  began: Map<string, number>
  curve: { epoch: number; loss: number }[]
  trainingId?: string
}

async function follow(
  { terminal, api }: Session,
  id: string,
): Promise<{ ended: RetrainingAnswer; seen: Seen }> {
  const seen: Seen = { began: new Map(), curve: [] }
  let told = ''
  for (;;) {
    const now = await api().get<RetrainingAnswer>(`/v1/retrainings/${encodeURIComponent(id)}`)
    if (now.outcome !== undefined) {
      terminal.live([])
      return { ended: now, seen }
    }
    note(seen, now)
    const stage = now.stage ?? 'opening'
    if (!terminal.interactive && stage !== told) terminal.say(`${stage} …`)
    told = stage
    terminal.live(linesOf(terminal, now, seen))
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

function note(
  seen: Seen,
  { stage = 'opening', epoch, loss, training_id: trainingId }: RetrainingAnswer,
): void {
  if (!seen.began.has(stage)) seen.began.set(stage, performance.now())
  if (trainingId !== undefined) seen.trainingId = trainingId
  if (epoch !== undefined && typeof loss === 'number' && seen.curve.at(-1)?.epoch !== epoch)
    seen.curve.push({ epoch, loss })
}

/** A line a stage, a bar and the curve under the one that trains. */
function linesOf({ paint, columns }: Terminal, now: RetrainingAnswer, { began, curve }: Seen): string[] {
  const place = stages.indexOf((now.stage ?? '') as (typeof stages)[number])
  return stages.flatMap((stage, index) => {
    if (index > place) return [paint('dim', `○ ${stage}`)]
    const next = stages.slice(index + 1).find((each) => began.has(each))
    const since = began.get(stage)
    const until = next === undefined ? performance.now() : began.get(next)!
    const lasted = since === undefined ? '' : `  ${((until - since) / 1_000).toFixed(1)} s`
    if (index < place) return [`${paint('green', '✔')} ${stage}${paint('dim', lasted)}`]
    const head = `${paint('yellow', '●')} ${paint('bold', stage)}${paint('dim', lasted)}`
    if (stage !== 'train' || now.epoch === undefined || now.epochs === undefined) return [head]
    const bar = `  ${barOf(now.epoch / now.epochs, 30)} epoch ${now.epoch} of ${now.epochs}, loss ${now.loss?.toFixed(4) ?? '–'}`
    const chart = curve.length > 1 ? lossText(curve, { width: Math.min(columns, 70) }).split('\n') : []
    return [head, bar, ...chart.map((line) => `  ${line}`)]
  })
}

/** Every epoch, from the record; those that were seen where that does not answer. */
async function curveOf({ api }: Session, { trainingId, curve }: Seen): Promise<Seen['curve']> {
  if (trainingId === undefined) return curve
  return api()
    .get<TrainingAnswer>(`/v1/trainings/${encodeURIComponent(trainingId)}`)
    .then(
      (training) => training.curve.filter(({ loss }) => typeof loss === 'number'),
      () => curve,
    )
}
