/** One retraining, live: how far its training is, how its loss falls, and what came of it. */
import { lossSvg, type Epoch } from '../../../../charts/loss.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { findRetraining, type Retraining } from '../../../../store/training/retrainings.ts'
import { findTrainingOf, type ShownTraining } from '../../../../store/dashboard/retraining-detail.ts'
import { requireModelAccess } from '../../../auth/authorization.ts'
import { page, type View } from '../../page.ts'
import { drawnOnce } from '../../components/chart-cache.ts'
import { Chart, countText, Live, Time } from '../../components/elements.tsx'
import { plain } from '../../labels.ts'
import { RetrainingOutcome } from './retrainings.tsx'

interface RetrainingData {
  retraining: Retraining
  training?: ShownTraining
  loss?: string
}

export const retrainingPage = page<RetrainingData>({
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
    const loss = await drawnOnce(key, () =>
      lossSvg(curve, { id: 'loss', title: 'How does the loss fall?', width: 720 }),
    )
    return { retraining, training, loss }
  },
  title: ({ retraining }) => `Retraining of ${retraining.model}`,
  view({ retraining, training, loss }, { target }) {
    const told = (
      <>
        <section class="card" aria-label="What came of it">
          <p class="lead">
            <RetrainingOutcome {...retraining} />{' '}
            {retraining.message ?? (retraining.endedAt === undefined ? stageOf(training) : '')}
          </p>
          <dl class="facts">
            <dt>Asked for by</dt>
            <dd>
              {retraining.requestedBy} ({retraining.reason})
            </dd>
            <dt>Data as known at</dt>
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
          {told}
        </Live>
      </>
    )
  },
})

function stageOf(training: ShownTraining | undefined): string {
  if (training === undefined) return 'The data are being taken and looked at.'
  if (training.status === 'running') return 'It is being trained.'
  if (training.status === 'failed') return 'The training has failed.'
  return training.evaluation === undefined
    ? 'It is being compared with the champion.'
    : 'It is being registered and released.'
}

const Evaluated = ({ id, verdict, version, release }: NonNullable<ShownTraining['evaluation']>): View => (
  <>
    <dt>Evaluation</dt>
    <dd>
      <a href={`/v1/evaluations/${encodeURIComponent(id)}`}>{plain(verdict)}</a>
    </dd>
    {version !== undefined && (
      <>
        <dt>Version</dt>
        <dd>{release === undefined ? version : <a href={`/releases/${release}`}>{version}</a>}</dd>
      </>
    )}
  </>
)

const Training = ({ training, loss }: { training: ShownTraining; loss: string | undefined }): View => {
  const { epoch, epochs, attempts, rows, snapshotDigest, message } = training
  return (
    <section class="card" aria-labelledby="training-heading">
      <h2 id="training-heading">Training</h2>
      <p>
        {epochs === undefined ? `${epoch} epochs` : `Epoch ${epoch} of ${epochs}`}
        {attempts > 1 ? `, attempt ${attempts}: it went on from its last checkpoint` : ''}; on{' '}
        {countText(rows)} rows of <a href={`/data/${encodeURIComponent(snapshotDigest)}`}>this snapshot</a>.
      </p>
      {epochs !== undefined && <progress value={Math.min(epoch, epochs)} max={epochs} aria-label="epochs" />}
      {message !== undefined && <p>{message}</p>}
      {loss !== undefined && <Chart svg={loss} />}
    </section>
  )
}
