/** Shows one retraining live: its progress, its loss and its result. */
import { requireFound } from '../../../../domain/errors.ts'
import { failedText } from '../../../../domain/validation/check-rows.ts'
import { countText } from '../../../charts/figures.ts'
import { capitalized, counted } from '../../../../domain/figures.ts'
import { lossSvg, type Epoch } from '../../../charts/loss.ts'
import { findRetraining } from '../../../../store/training/retrainings.ts'
import { findEvaluation } from '../../../../store/training/evaluations.ts'
import {
  findCancellation,
  findTrainingOf,
  type ShownTraining,
} from '../../../../store/dashboard/training-detail.ts'
import { startRetraining } from '../../../services/start-retraining.ts'
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
import { Facts, Live, Time, withCode, type Fact, Badge, DataTable } from '../../components/elements.tsx'
import { Crumbs, snapshotHref } from '../../components/links.tsx'
import { plain, withoutIds } from '../../labels.ts'
import { drawGates, Gates, refusalText, Slices } from '../release/evaluation.tsx'
import { CancelForm } from './cancel.tsx'
import { RetrainingOutcome } from './retrainings.tsx'
import { columnText, maxResults } from '../../components/validation-report.ts'

export const retrainingPage = definePage({
  async load({ store, temporal }, { params }) {
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
    if (training === undefined) return { retraining, cancellation, waiting, validation }
    const curve = training.curve.flatMap(({ loss, ...each }): Epoch[] =>
      typeof loss === 'number' ? [{ ...each, loss }] : [],
    )
    const evaluated = training.evaluation && (await findEvaluation(store, training.evaluation.id))
    const report = evaluated?.report
    const [loss, gates] = await Promise.all([
      // A single epoch makes no curve.
      curve.length < 2
        ? undefined
        : drawChartSizes({ id: 'loss', title: 'Training loss', wide: 720 }, curve, lossSvg),
      report && drawGates(report),
    ])
    return { retraining, cancellation, waiting, validation, training, loss, report, gates }
  },
  title: ({ retraining }) => `Retraining of ${retraining.model}`,
  view(
    { retraining, cancellation, waiting, validation, training, loss, report, gates },
    { target, token, actor },
  ) {
    const isRefused = retraining.outcome === 'not_better' && report !== undefined
    const mayCancel = retraining.endedAt === undefined && startRetraining.roles.includes(actor.role)
    const content = (
      <>
        <section class="card" aria-label="Result">
          <p class="lead">
            <RetrainingOutcome {...retraining} />{' '}
            {isRefused
              ? `Not released: ${refusalText(report)}`
              : validation?.verdict === 'block'
                ? `Not trained: ${failedText(validation)}`
                : withoutIds(
                    retraining.message ??
                      (retraining.endedAt === undefined ? stageOf(training, waiting) : ''),
                  )}
          </p>
          {waiting !== undefined && <p class="notice warn wrap">{withCode(capitalized(waiting))}</p>}
          {isRefused && report.reasons.length > 1 && (
            <details>
              <summary>Each reason ({report.reasons.length})</summary>
              <ul>
                {report.reasons.map(({ message }) => (
                  <li>{message}</li>
                ))}
              </ul>
            </details>
          )}
          <Facts
            facts={[
              ['Requested by', `${retraining.requestedBy} (${retraining.reason})`],
              ...noteFacts(retraining.evidence),
              ...cancellationFacts(cancellation),
              ['Data as of', <Time at={retraining.asOf} />],
              ['Started', <Time at={retraining.startedAt} />],
              ['Ended', <Time at={retraining.endedAt} />],
              ...evaluationFacts(training?.evaluation),
            ]}
          />
        </section>
        <FailedChecks model={retraining.model} validation={validation} />
        {report !== undefined && <Gates report={report} chart={gates} />}
        {report !== undefined && <Slices report={report} />}
        {training !== undefined && <Training model={retraining.model} training={training} loss={loss} />}
        <BehaviourTests tests={training?.tests} />
      </>
    )
    return (
      <>
        <Crumbs
          to={[
            [
              `/retrainings?model=${encodeURIComponent(retraining.model)}`,
              `Retrainings of ${retraining.model}`,
            ],
          ]}
        />
        <h1>Retraining of {retraining.model}</h1>
        <Live id="retraining" target={target} everyMs={2_000} over={retraining.endedAt !== undefined}>
          {content}
        </Live>
        {mayCancel && token !== undefined && <CancelForm id={retraining.id} token={token} />}
      </>
    )
  },
})

export function stageOf(training: ShownTraining | undefined, waiting: string | undefined): string {
  if (waiting !== undefined) return 'Training has not begun'
  if (training === undefined) return 'Loading and validating data'
  if (training.status === 'running') return 'Training'
  if (training.status === 'failed') return 'Training failed'
  if (training.evaluation === undefined) return 'Evaluating against champion'
  return training.refit === 'running' ? 'Training again on all matured rows' : 'Registering and releasing'
}

const cancellationFacts = (by: { actor: string; reason?: string } | undefined): Fact[] =>
  by === undefined ? [] : [['Cancelled by', by.reason === undefined ? by.actor : `${by.actor}: ${by.reason}`]]

const noteFacts = ({ reason }: Record<string, unknown>): Fact[] =>
  typeof reason === 'string' ? [['Reason', reason]] : []

function evaluationFacts(evaluation: ShownTraining['evaluation']): Fact[] {
  if (evaluation === undefined) return []
  const { id, verdict, version, release } = evaluation
  const link = <a href={`/v1/evaluations/${encodeURIComponent(id)}`}>View evaluation</a>
  const facts: Fact[] = [['Evaluation', [plain(verdict), ' · ', link]]]
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
  const { snapshotDigest: digest, verdict, checks, runbook, next } = validation
  const hidden = checks.length - maxResults
  return (
    <section class={`card ${verdict === 'block' ? 'bad' : 'warn'}`} aria-labelledby="checks-heading">
      <h2 id="checks-heading">Data checks</h2>
      <p>
        {verdict === 'block' ? capitalized(failedText(validation)) : counted(checks.length, 'warning')} ·
        snapshot{' '}
        <a href={snapshotHref({ digest, model })}>
          <code>{digest.replace(/^sha256:/, '').slice(0, 12)}</code>
        </a>
        {runbook !== undefined && [' · ', <a href={runbook}>Runbook</a>]}
      </p>
      {next !== undefined && <p>{withCode(next)}</p>}
      <DataTable
        caption="Failed checks"
        hideCaption
        rows={checks.slice(0, maxResults)}
        empty=""
        columns={[
          {
            head: 'Column',
            names: true,
            cell: ({ column }) => (column === undefined ? 'all rows' : columnText(column)),
          },
          { head: 'Expectation', cell: ({ check }) => plain(check) },
          {
            head: 'Result',
            cell: ({ severity }) => <Badge tone={severity === 'failed' ? 'bad' : 'warn'}>{severity}</Badge>,
          },
          {
            head: 'Observed',
            cell: ({ observed, examples = [] }) =>
              examples.length === 0 ? observed : `${observed}, such as ${examples.slice(0, 3).join(', ')}`,
          },
          { head: 'Required', cell: ({ required }) => required },
          { head: 'Champion', cell: ({ champion }) => champion ?? '—' },
        ]}
      />
      {hidden > 0 && <p class="quiet">{countText(hidden)} more on the page of the snapshot</p>}
    </section>
  )
}
