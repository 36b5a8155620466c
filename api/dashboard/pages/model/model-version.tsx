/** Shows one version: its evaluation, its training, its model card, and links to its data. */
import { intervalsSvg } from '../../../charts/intervals.ts'
import { lossSvg } from '../../../charts/loss.ts'
import type { ModelCard } from '../../../../domain/registry/model-card.ts'
import { cardMarkdown } from '../../../../domain/registry/model-card-markdown.ts'
import { findCandidate, type Release } from '../../../../store/release/releases.ts'
import { listFailedRequests } from '../../../../store/review/failed-requests.ts'
import { getVersion } from '../../../../store/registry/versions.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { capitalized } from '../../../../domain/figures.ts'
import { readCard } from '../../../services/model-card.ts'
import { Badge, durationText } from '../../components/elements.tsx'
import { definePage, type PageRequest, type PageElement } from '../../page.ts'
import type { ApiDeps } from '../../../deps.ts'
import { drawChartSizes, ChartFigure } from '../../components/chart.tsx'
import { FailedRequestsTable, shownFailedRequests } from '../../components/failed-requests.tsx'
import { drawImportance, ImportanceSection } from '../../components/importance.tsx'
import { ModelCrumbs, snapshotHref } from '../../components/links.tsx'
import { statusTones } from '../../components/version-table.tsx'
import { plain } from '../../labels.ts'
import { gateIntervals } from '../../../charts/intervals.ts'
import { Markdown } from '../../components/markdown.tsx'

/** Reads the version. Throws `version_not_found` when it belongs to another model than the path. */
async function versionOf({ store }: ApiDeps, { params }: PageRequest) {
  const { name, version } = params
  const found = await getVersion(store, version!)
  if (found.model !== name)
    throw new DomainError(
      'version_not_found',
      `${JSON.stringify(version)} is not a version of ${JSON.stringify(name)}`,
    )
  return found
}

export const versionPage = definePage({
  async load(deps, ask) {
    const version = await versionOf(deps, ask)
    const [{ card, source, training, releases }, failed, { issue }] = await Promise.all([
      readCard(deps.store, version),
      listFailedRequests(deps.store, { ...version, limit: shownFailedRequests }),
      findCandidate(deps.store, version),
    ])
    const rows = gateIntervals(source.evaluation?.report ?? {})
    const [importance, gains, loss] = await Promise.all([
      drawImportance(card.version, card.evaluation?.importance),
      rows.length === 0
        ? undefined
        : drawChartSizes(
            { id: 'gains', title: `Gains of ${card.version} over the champion at the time`, wide: 500 },
            rows,
            intervalsSvg,
          ),
      training === undefined || training.curve.length === 0
        ? undefined
        : drawChartSizes(
            { id: 'loss', title: `Training loss of ${card.version}`, wide: 480 },
            training.curve,
            lossSvg,
          ),
    ])
    const notReleasable = card.status === 'registered' || card.status === 'known_good' ? issue : undefined
    return { card, failed, releases, importance, gains, loss, training, notReleasable }
  },
  title: ({ card }) => card.version,
  view: ({ card, failed, releases, importance, gains, loss, training, notReleasable }) => (
    <>
      <ModelCrumbs model={card.model} />
      <h1>
        {card.version} <Badge tone={statusTones[card.status]}>{plain(card.status)}</Badge>
      </h1>
      {card.about !== null && <p class="lead">{card.about}</p>}
      {card.data.compressed !== null && <p>{capitalized(card.data.compressed)}</p>}
      {notReleasable !== undefined && <p class="hint">Cannot be released: {notReleasable}</p>}
      <Links card={card} releases={releases} />
      <div class="grid">
        {gains !== undefined && (
          <section class="card">
            <h2>Gain vs champion at the time</h2>
            <ChartFigure chart={gains} note="Right of dashed = no regression, right of 0 = better" />
          </section>
        )}
        {loss !== undefined && (
          <section class="card">
            <h2>Training</h2>
            <ChartFigure chart={loss} />
            {training !== undefined && (
              <p class="hint">
                {training.epoch} epochs
                {training.durationMs !== undefined && ` in ${durationText(training.durationMs)}`}
                {training.attempts > 1 && `, in ${training.attempts} attempts`}
              </p>
            )}
          </section>
        )}
      </div>
      {failed.length > 0 && (
        <section class="card">
          <h2>Failed requests</h2>
          <FailedRequestsTable rows={failed} />
        </section>
      )}
      <ImportanceSection importance={card.evaluation?.importance} chart={importance} />
      <section class="card">
        <Markdown source={cardMarkdown(withoutShown(card)).replace(/^# .*\n/, '')} />
      </section>
    </>
  ),
})

/** The card without what the page shows above it. */
const withoutShown = (card: ModelCard): ModelCard => ({
  ...card,
  about: null,
  data: { ...card.data, compressed: null },
  evaluation: card.evaluation && { ...card.evaluation, importance: null },
})

export const cardPage = definePage({
  async load(deps, ask) {
    return { card: (await readCard(deps.store, await versionOf(deps, ask))).card }
  },
  title: ({ card }) => `Card of ${card.version}`,
  view: ({ card }) => (
    <>
      <ModelCrumbs model={card.model} />
      <section class="card">
        <Markdown source={cardMarkdown(card)} />
      </section>
      <Links card={card} />
    </>
  ),
})

/** Names a release by what became of it: `Release (rolled back)`. */
const releaseText = ({ outcome, state }: Release): string =>
  `Release (${plain(outcome ?? state.outcome ?? state.stage)})`

interface LinksParts {
  card: ModelCard
  /** The releases of the version, the newest first. */
  releases?: readonly Release[]
}

const Links = ({ card, releases = [] }: LinksParts): PageElement => {
  const address = `/v1/versions/${encodeURIComponent(card.version)}/card`
  const against = card.evaluation?.against
  return (
    <p class="small">
      {releases.map((release) => [
        <a href={`/releases/${encodeURIComponent(release.state.id)}`}>{releaseText(release)}</a>,
        ' · ',
      ])}
      Card as <a href={`${address}?format=markdown`}>Markdown</a> or <a href={address}>JSON</a>
      {card.data.snapshot !== null && [
        ' · ',
        <a href={snapshotHref({ digest: card.data.snapshot, model: card.model })}>Training data</a>,
      ]}
      {against != null && [
        ' · ',
        <a href={`/compare?one=${encodeURIComponent(against)}&other=${encodeURIComponent(card.version)}`}>
          Compare with {against}
        </a>,
      ]}
    </p>
  )
}
