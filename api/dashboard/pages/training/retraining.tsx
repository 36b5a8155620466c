/** Shows one retraining live: its progress, its loss and its result. */
import { requireFound } from '../../../../domain/errors.ts'
import { expectationOf } from '../../../../domain/evaluation/expected-evidence.ts'
import type { GateReport } from '../../../../domain/evaluation/gate.ts'
import { snapshotColumns } from '../../../../domain/model-definition.ts'
import { isAlertKind } from '../../../../domain/monitoring/alert-kinds.ts'
import { commandRoles } from '../../../../domain/release/state.ts'
import { failedText } from '../../../../domain/validation/check-rows.ts'
import { countText, truncated } from '../../../charts/figures.ts'
import { capitalized, counted, groupedDigits } from '../../../../domain/figures.ts'
import { lossSvg, type Epoch } from '../../../charts/loss.ts'
import { listValidations } from '../../../../store/dashboard/lists.ts'
import type { Database } from '../../../../store/postgres.ts'
import { getModel } from '../../../../store/registry/models.ts'
import { findRetraining, type Retraining } from '../../../../store/training/retrainings.ts'
import { findEvaluation } from '../../../../store/training/evaluations.ts'
import {
  findCancellation,
  findTrainingOf,
  type ShownTraining,
} from '../../../../store/dashboard/training-detail.ts'
import { findRefused, startRetraining } from '../../../services/start-retraining.ts'
import { runOfRetraining } from '../../../../domain/training/runs.ts'
import {
  findShownValidation,
  validationOfRetraining,
  type ShownValidation,
} from '../../../services/training/shown-validation.ts'
import { waitingOfRetraining } from '../../../services/training/waiting-training.ts'
import { definePage, type PageElement } from '../../page.ts'
import { BehaviourTests } from '../../components/behaviour-tests.tsx'
import { ChartFigure, drawChartSizes, type ChartSizes } from '../../components/chart.tsx'
import { Facts, Live, Time, durationText, withCode, type Fact } from '../../components/elements.tsx'
import { Crumbs, modelHref, snapshotHref } from '../../components/links.tsx'
import { outcomeText } from '../../../../domain/evaluation/verdict-words.ts'
import { shortDigest, shortReason, withoutIds } from '../../labels.ts'
import { Term } from '../../glossary.tsx'
import { modelActions } from '../model/action-roles.ts'
import { RunbookLink } from '../operations/alert-card.tsx'
import { shortVersion } from '../overview/cells.tsx'
import { drawGates, Gates, refusalText, Slices } from '../release/evaluation.tsx'
import { CancelForm } from './cancel.tsx'
import { ChecksTable } from './data-validation.tsx'
import { madeText, makingWords, toneOf } from './retrainings.tsx'
import { reportOf } from '../../components/validation-report.ts'

export const retrainingPage = definePage({
  async load(
    { store, temporal, serving },
    { params },
  ): Promise<ShownRetraining & { loss?: ChartSizes | undefined; gates?: ChartSizes | undefined }> {
    const id = params['id']!
    const retraining = requireFound(await findRetraining(store, id), { what: 'retraining', id })
    const [training, cancellation] = await Promise.all([
      findTrainingOf(store, retraining),
      findCancellation(store, id),
    ])
    const run = runOfRetraining(id)
    const waiting =
      retraining.endedAt !== undefined || run === undefined || (training?.epoch ?? 0) > 0
        ? undefined
        : await waitingOfRetraining({ store, temporal }, run)
    const validation = run && (await findShownValidation(store, validationOfRetraining(run)))
    const seen = { retraining, cancellation, waiting, validation, nowMs: serving.wall() }
    if (training === undefined) return seen
    const curve = training.curve.flatMap(({ loss, ...each }): Epoch[] =>
      typeof loss === 'number' ? [{ ...each, loss }] : [],
    )
    const evaluated = training.evaluation && (await findEvaluation(store, training.evaluation.id))
    const report = evaluated?.report
    const [loss, gates, lacking, refused] = await Promise.all([
      // A single epoch makes no curve.
      curve.length < 2
        ? undefined
        : drawChartSizes({ id: 'loss', title: 'Training loss', wide: 720 }, curve, lossSvg),
      report && drawGates(report),
      lackingOf(store, retraining.model, { report, snapshotDigest: training.snapshotDigest }),
      run && isWithoutVersion(retraining) ? findRefused({ store }, retraining) : undefined,
    ])
    const isRegistrable = typeof refused === 'object'
    return { ...seen, training, loss, report, gates, lacking, isRegistrable }
  },
  title: headlineOf,
  view(data, { target, token, actor }) {
    const { retraining, waiting, validation, training, loss, report, gates, lacking = [] } = data
    const { model } = retraining
    const isOver = retraining.endedAt !== undefined
    const mayCancel = !isOver && startRetraining.roles.includes(actor.role)
    const isRefused = report !== undefined && isWithoutVersion(retraining)
    const content = (
      <>
        <header class={`sentence ${toneOf(retraining)}`}>
          <h1>{headlineOf(data)}</h1>
          <NextSteps data={data} mayRetrain={modelActions.retrain.allow.includes(actor.role)} />
        </header>
        {waiting !== undefined && <p class="notice warn wrap">{withCode(capitalized(waiting))}</p>}
        <FailedChecks model={model} validation={validation} />
        {lacking.length > 0 && <Lacking lacking={lacking} />}
        {data.isRegistrable === true && commandRoles.promoteNow.includes(actor.role) && (
          <p class="wrap">
            To release it all the same, register it by <Term word="break-glass promotion" />:{' '}
            <code>tenure promote-now {retraining.id} --reason "…"</code>
          </p>
        )}
        {isRefused ? (
          <Reasons report={report} />
        ) : (
          validation?.verdict !== 'block' &&
          retraining.message !== undefined && (
            <p class="wrap">{capitalized(withoutIds(retraining.message))}</p>
          )
        )}
        {report !== undefined && <Gates report={report} chart={gates} />}
        {report !== undefined && <Slices report={report} />}
        {training !== undefined && !isOver && <Training model={model} training={training} loss={loss} />}
        <BehaviourTests tests={training?.tests} />
        <details id="run">
          <summary>The run: who asked for it, its data and its training</summary>
          <Run data={data} />
          {training !== undefined && isOver && <Training model={model} training={training} loss={loss} />}
        </details>
      </>
    )
    return (
      <>
        <Crumbs to={[[`/retrainings?model=${encodeURIComponent(model)}`, `Retrainings of ${model}`]]} />
        <Live id="retraining" target={target} everyMs={2_000} over={isOver}>
          {content}
        </Live>
        {mayCancel && token !== undefined && <CancelForm id={retraining.id} token={token} />}
      </>
    )
  },
})

/** What the page shows of a retraining. */
interface ShownRetraining {
  retraining: Retraining
  cancellation?: { actor: string; reason?: string } | undefined
  waiting?: string | undefined
  validation?: ShownValidation | undefined
  training?: ShownTraining
  report?: GateReport | undefined
  lacking?: LackingRow[]
  /** Break-glass may register the refused challenger. */
  isRegistrable?: boolean
  nowMs: number
}

const isWithoutVersion = ({ outcome }: Pick<Retraining, 'outcome'>): boolean =>
  outcome === 'not_better' || outcome === 'insufficient'

/** The step of a running retraining: `step 2 of 4: training`. */
export function stepText(training: ShownTraining | undefined, makes: Retraining['makes']): string {
  const making = makes === 'training' ? makes : 'making the version'
  const [step, word] =
    training === undefined
      ? [1, 'loading and validating data']
      : training.status === 'running' || training.status === 'failed'
        ? [2, training.status === 'failed' ? `${making} failed` : making]
        : training.evaluation === undefined
          ? [3, 'evaluating against champion']
          : [
              4,
              training.refit === 'running'
                ? 'training again on all matured rows'
                : 'registering and releasing',
            ]
  return `step ${step} of 4: ${word}`
}

/** In characters, of a reason in the headline. */
const maxReason = 90

/** Says what happened: `flight-delay not trained: the data failed 2 of 28 checks`. */
export function headlineOf({
  retraining,
  cancellation,
  waiting,
  validation,
  training,
  report,
  lacking = [],
  nowMs,
}: ShownRetraining): string {
  const { model, outcome, version, message = '', startedAt, endedAt, makes } = retraining
  const { noun, done } = makingWords[makes]
  const short = version === undefined ? model : `${model} ${shortVersion(model, version)}`
  const why = (text: string) => truncated(shortReason(text), maxReason)
  if (endedAt === undefined || outcome === undefined) {
    const since = durationText(nowMs - Date.parse(startedAt))
    return waiting === undefined
      ? `${model}: ${madeText(retraining)} since ${since}, ${stepText(training, makes)}`
      : `${model}: ${makes === 'training' ? makes : noun} has not begun, waiting since ${since}`
  }
  switch (outcome) {
    case 'quarantined':
      return `${model} not ${done}: ${validation?.verdict === 'block' ? failedText(validation) : 'the data failed validation'}`
    case 'not_better':
      return `${short} not released: ${why(report === undefined ? message : refusalText(report).split(';')[0]!)}`
    case 'insufficient': {
      const [first] = lacking
      return `${short} not released: ${first === undefined ? why(message) : `${groupedDigits(first.have)} of ${groupedDigits(first.need)} ${first.what} in the test rows`}`
    }
    case 'released':
      return `${short} ${done}, its release started`
    case 'registered':
      return `${short} registered, not released`
    case 'unchanged':
      return `${short} not released: the same artifact as before`
    case 'cancelled':
      return `${model}: ${noun} cancelled${cancellation === undefined ? '' : ` by ${cancellation.actor}`}`
    case 'failed':
      return `${model}: ${noun} failed: ${why(message)}`
    default:
      return `${short}: ${outcomeText(outcome)}`
  }
}

/** What to do now: the release, the snapshot, another retraining, the runbook. */
const NextSteps = ({ data, mayRetrain }: { data: ShownRetraining; mayRetrain: boolean }): PageElement => {
  const { retraining, training, validation } = data
  const { model, outcome, endedAt } = retraining
  const release = training?.evaluation?.release
  const digest = validation?.snapshotDigest ?? retraining.snapshotDigest ?? training?.snapshotDigest
  return (
    <p>
      {release !== undefined && (
        <a class="button" href={`/releases/${release}`}>
          View the release
        </a>
      )}
      {release === undefined && endedAt !== undefined && mayRetrain && (
        <a class="button second" href={`${modelHref(model)}/retrain`}>
          Retrain…
        </a>
      )}
      {digest !== undefined && <a href={snapshotHref({ digest, model })}>Snapshot</a>}
      {outcome !== undefined && isAlertKind(outcome) && <RunbookLink kind={outcome} text="Runbook" />}
      <a href={modelHref(model)}>{model}</a>
    </p>
  )
}

/** Why the gate refused the version; one reason is in the headline already. */
const Reasons = ({ report }: { report: GateReport }): PageElement => (
  <>
    <p class="wrap">{capitalized(refusalText(report))}</p>
    {report.reasons.length > 1 && (
      <details id="reasons">
        <summary>Each reason ({report.reasons.length})</summary>
        <ul>
          {report.reasons.map(({ message }) => (
            <li>{message}</li>
          ))}
        </ul>
      </details>
    )}
  </>
)

const Run = ({ data: { retraining, cancellation, training } }: { data: ShownRetraining }): PageElement => (
  <Facts
    facts={[
      ['Requested by', `${retraining.requestedBy} (${retraining.reason})`],
      ...(retraining.makes === 'training' ? [] : [['Makes', madeText(retraining)] as Fact]),
      ...noteFacts(retraining.evidence),
      ...cancellationFacts(cancellation),
      ['Data as of', <Time at={retraining.asOf} />],
      ['Started', <Time at={retraining.startedAt} />],
      ['Ended', <Time at={retraining.endedAt} />],
      ...evaluationFacts(training?.evaluation),
    ]}
  />
)

// What the gate lacks of the test rows, and when there is enough.

/** What the test rows have too few of. */
interface LackingRow {
  what: string
  have: number
  need: number
  /** When there are enough, in one sentence. */
  expected: string
}

async function lackingOf(
  store: Database,
  model: string,
  { report, snapshotDigest }: { report: GateReport | undefined; snapshotDigest: string },
): Promise<LackingRow[]> {
  const few = (report?.reasons ?? []).flatMap(({ code, values }) => {
    const [, what] = /^few_(rows|positives|negatives)$/.exec(code) ?? []
    const { have, need } = values
    return what !== undefined && typeof have === 'number' && typeof need === 'number'
      ? [{ what, have, need }]
      : []
  })
  if (few.length === 0) return []
  const [{ definition }, [validation]] = await Promise.all([
    getModel(store, model),
    listValidations(store, { snapshotDigest, model, limit: 1 }),
  ])
  const times =
    validation && reportOf(validation).columns.find(({ column }) => column === snapshotColumns.eventAt)
  const spanMs =
    typeof times?.min === 'number' && typeof times.max === 'number' ? times.max - times.min : undefined
  return few.map((each) => ({
    ...each,
    expected: expectationOf({ ...each, split: definition.split, spanMs }),
  }))
}

const Lacking = ({ lacking }: { lacking: readonly LackingRow[] }): PageElement => (
  <section class="card warn" aria-labelledby="lacking-heading">
    <h2 id="lacking-heading">Too few test rows for a verdict</h2>
    {lacking.map(({ what, have, need, expected }) => (
      <>
        <p>
          <strong>
            {groupedDigits(have)} of {groupedDigits(need)} {what}
          </strong>{' '}
          <progress value={have} max={need} aria-label={what} />
        </p>
        <p>{withCode(expected)}</p>
      </>
    ))}
    <p class="quiet small">
      A verdict on fewer would be chance. The limits are <code>evaluation.evidence</code> of the model file.
    </p>
  </section>
)

const cancellationFacts = (by: { actor: string; reason?: string } | undefined): Fact[] =>
  by === undefined ? [] : [['Cancelled by', by.reason === undefined ? by.actor : `${by.actor}: ${by.reason}`]]

const noteFacts = ({ reason }: Record<string, unknown>): Fact[] =>
  typeof reason === 'string' ? [['Reason', reason]] : []

function evaluationFacts(evaluation: ShownTraining['evaluation']): Fact[] {
  if (evaluation === undefined) return []
  const { id, verdict, version, release } = evaluation
  const link = <a href={`/v1/evaluations/${encodeURIComponent(id)}`}>View evaluation</a>
  const facts: Fact[] = [['Evaluation', [outcomeText(verdict), ' · ', link]]]
  if (version !== undefined)
    facts.push(['Version', release === undefined ? version : <a href={`/releases/${release}`}>{version}</a>])
  return facts
}

const Training = ({
  model,
  training,
  loss,
}: {
  model: string
  training: ShownTraining
  loss: ChartSizes | undefined
}): PageElement => {
  const { epoch, epochs, attempts, rows, snapshotDigest, message } = training
  return (
    <section class="card" aria-labelledby="training-heading">
      <h2 id="training-heading">Training</h2>
      <p>
        {epochs === undefined ? `${epoch} epochs` : `Epoch ${epoch} of ${epochs}`}
        {attempts > 1 ? `, attempt ${attempts} (resumed from checkpoint)` : ''} · {countText(rows)} rows ·{' '}
        <a href={snapshotHref({ digest: snapshotDigest, model })}>View snapshot</a>
      </p>
      {epochs !== undefined && <progress value={Math.min(epoch, epochs)} max={epochs} aria-label="epochs" />}
      {message !== undefined && <p>{message}</p>}
      {loss !== undefined && <ChartFigure chart={loss} />}
    </section>
  )
}

// Shows what the validation of a retraining has found: each failed check and each warning as a row, with the next step.

/** Shows nothing for rows that passed all checks. */
function FailedChecks({
  model,
  validation,
}: {
  model: string
  validation: ShownValidation | undefined
}): PageElement | null {
  if (validation === undefined || validation.checks.length === 0) return null
  const { snapshotDigest: digest, verdict, checks, next } = validation
  return (
    <section class={`card ${verdict === 'block' ? 'bad' : 'warn'}`} aria-labelledby="checks-heading">
      <h2 id="checks-heading">{verdict === 'block' ? 'Failed checks' : counted(checks.length, 'warning')}</h2>
      <ChecksTable checks={checks} />
      {next !== undefined && <p>{withCode(next)}</p>}
      <p class="small">
        <a href={snapshotHref({ digest, model })}>All checks and columns of snapshot {shortDigest(digest)}</a>
      </p>
    </section>
  )
}
