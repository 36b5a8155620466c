/** Shows one retraining live: its progress, its loss and its result. */
import { countText } from '../../../../charts/figures.ts'
import { lossSvg, type Epoch } from '../../../../charts/loss.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { findRetraining, type Retraining } from '../../../../store/training/retrainings.ts'
import { findTrainingOf, type ShownTraining } from '../../../../store/dashboard/retraining-detail.ts'
import { requireModelAccess } from '../../../auth/authorization.ts'
import { definePage, type PageElement } from '../../page.ts'
import { cachedChart } from '../../components/chart-cache.ts'
import { Chart, Live, Time } from '../../components/elements.tsx'
import { plain } from '../../labels.ts'
import { RetrainingOutcome } from './retrainings.tsx'

interface RetrainingData {
  retraining: Retraining
  training?: ShownTraining
  loss?: string
}

export const retrainingPage = definePage<RetrainingData>({
  async load({ store }, { actor, params }) {
    const id = params['id']!
    const retraining = await findRetraining(store, id)
    if (retraining === undefined)
      throw new DomainError('not_found', `there is no retraining ${JSON.stringify(id.slice(0, 200))}`)
    requireModelAccess(actor, retraining.model)
    const training = await findTrainingOf(store, retraining)
    if (training === undefined) return { retraining }
    const curve = training.curve.flatMap(({ loss, ...each }): Epoch[] =>
      typeof loss === 'number' ? [{ ...each, loss }] : [],
    )
    const key = `loss ${training.id} ${training.attempts} ${training.epoch} ${training.status}`
    const loss = await cachedChart(key, () =>
      lossSvg(curve, { id: 'loss', title: 'Training loss', width: 720 }),
    )
    return { retraining, training, loss }
  },
  title: ({ retraining }) => `Retraining of ${retraining.model}`,
  view({ retraining, training, loss }, { target }) {
    const content = (
      <>
        <section class="card" aria-label="Result">
          <p class="lead">
            <RetrainingOutcome {...retraining} />{' '}
            {retraining.message ?? (retraining.endedAt === undefined ? stageOf(training) : '')}
          </p>
          <dl class="facts">
            <dt>Requested by</dt>
            <dd>
              {retraining.requestedBy} ({retraining.reason})
            </dd>
            <dt>Data as of</dt>
            <dd>
              <Time at={retraining.asOf} /> UTC
            </dd>
            <dt>Started</dt>
            <dd>
              <Time at={retraining.startedAt} /> UTC
            </dd>
            <dt>Ended</dt>
            <dd>
              <Time at={retraining.endedAt} />
            </dd>
            {training?.evaluation !== undefined && <Evaluated {...training.evaluation} />}
          </dl>
        </section>
        {training !== undefined && <Training training={training} loss={loss} />}
      </>
    )
    return (
      <>
        <p class="crumbs">
          <a href={`/retrainings?model=${encodeURIComponent(retraining.model)}`}>
            Retrainings of {retraining.model}
          </a>
        </p>
        <h1>Retraining of {retraining.model}</h1>
        <Live id="retraining" target={target} everyMs={2_000} over={retraining.endedAt !== undefined}>
          {content}
        </Live>
      </>
    )
  },
})

function stageOf(training: ShownTraining | undefined): string {
  if (training === undefined) return 'Loading and validating data'
  if (training.status === 'running') return 'Training'
  if (training.status === 'failed') return 'Training failed'
  return training.evaluation === undefined ? 'Evaluating against champion' : 'Registering and releasing'
}

const Evaluated = ({
  id,
  verdict,
  version,
  release,
}: NonNullable<ShownTraining['evaluation']>): PageElement => (
  <>
    <dt>Evaluation</dt>
    <dd>
      {plain(verdict)} · <a href={`/v1/evaluations/${encodeURIComponent(id)}`}>View evaluation</a>
    </dd>
    {version !== undefined && (
      <>
        <dt>Version</dt>
        <dd>{release === undefined ? version : <a href={`/releases/${release}`}>{version}</a>}</dd>
      </>
    )}
  </>
)

const Training = ({ training, loss }: { training: ShownTraining; loss: string | undefined }): PageElement => {
  const { epoch, epochs, attempts, rows, snapshotDigest, message } = training
  return (
    <section class="card" aria-labelledby="training-heading">
      <h2 id="training-heading">Training</h2>
      <p>
        {epochs === undefined ? `${epoch} epochs` : `Epoch ${epoch} of ${epochs}`}
        {attempts > 1 ? `, attempt ${attempts} (resumed from checkpoint)` : ''} · {countText(rows)} rows ·{' '}
        <a href={`/data/${encodeURIComponent(snapshotDigest)}`}>View snapshot</a>
      </p>
      {epochs !== undefined && <progress value={Math.min(epoch, epochs)} max={epochs} aria-label="epochs" />}
      {message !== undefined && <p>{message}</p>}
      {loss !== undefined && <Chart svg={loss} />}
    </section>
  )
}
