/** Compares the live inputs and predictions of a model with the training data of its champion, feature by feature and output by output. */
import { psiText } from '../../../charts/figures.ts'
import { profileBins, profileLegend, profileSvg, type ProfileBin } from '../../../charts/profile.ts'
import type { Feature } from '../../../../domain/model/features.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { findWindow } from '../../../../store/serving/feature-counts.ts'
import { answerProfiles, type Profile } from '../../../../domain/model/reference-profile.ts'
import { answerRows, type DriftRow } from '../../../../domain/monitoring/drift.ts'
import { answerCounts } from '../../../../domain/monitoring/drift-window.ts'
import { findLastDrift } from '../../../../store/dashboard/windows.ts'
import { getModel } from '../../../../store/registry/models.ts'
import { getVersion } from '../../../../store/registry/versions.ts'
import { definePage, type PageElement } from '../../page.ts'
import { drawChartSizes, ChartFigure, type ChartSizes } from '../../components/chart.tsx'
import { Badge } from '../../components/elements.tsx'
import { ModelCrumbs } from '../../components/links.tsx'
import { levelText, levelTones, sentenceCase } from '../../labels.ts'

/** The maximum number of features that the page shows; those with the highest PSI come first. */
const maxFeatures = 24
const hourMs = 3_600_000
const hours = 24

interface FeaturePart {
  name: string
  /** The description in the model file. */
  about?: string
  unit?: string
  chart: ChartSizes
  legend: string
  psi?: number | null
  level?: string
}

/** Orders categories: a few, such as weekdays, as the model file lists them; many by their number of rows. */
function inOrder(bins: ProfileBin[], feature: Feature | undefined): ProfileBin[] {
  const values = feature?.kind === 'category' ? feature.values : undefined
  if (values === undefined || values.length > 31) return bins
  const placeOf = ({ name }: ProfileBin) => (values.includes(name) ? values.indexOf(name) : values.length)
  return bins.toSorted((one, other) => placeOf(one) - placeOf(other))
}

export const featuresPage = definePage({
  async load({ store, serving }, { params }) {
    const { name: model } = await getModel(store, params['name']!)
    const champion = await findChampion(store, model)
    const version = champion?.version
    const none: FeaturePart[] = []
    if (version === undefined) return { model, parts: none, total: 0 }
    const nowMs = serving.wall()
    const [{ manifest }, live, drift] = await Promise.all([
      getVersion(store, version),
      findWindow(store, { model, version, fromMs: nowMs - hours * hourMs, toMs: nowMs + hourMs }),
      findLastDrift(store, model),
    ])
    const { profile, features } = manifest
    if (profile === undefined) return { model, version, parts: none, total: 0 }
    const report = drift?.version === version ? drift.report : undefined
    const largest = (profiles: readonly Profile[], rows: readonly DriftRow[] = []) => {
      const known = new Map(rows.map((row) => [row.name, row]))
      return profiles
        .map((reference) => ({ reference, row: known.get(reference.name) }))
        .toSorted((one, other) => (other.row?.psi ?? -1) - (one.row?.psi ?? -1))
        .slice(0, maxFeatures)
    }
    const answered = answerCounts(live, profile)
    const shown = [
      ...largest(answerProfiles(profile), report && answerRows(report)).map(({ reference, row }) => ({
        name: profile.scores === undefined ? 'prediction' : `prediction of ${reference.name}`,
        reference,
        row,
        counts: answered[reference.name],
      })),
      ...largest(profile.features, report?.features).map(({ reference, row }) => ({
        name: reference.name,
        reference,
        row,
        counts: live?.features[reference.name],
      })),
    ]
    const parts = await Promise.all(
      shown.map(async ({ name, reference, row, counts }, i): Promise<FeaturePart> => {
        const chart = await drawChartSizes(
          { id: `feature-${i}`, title: `${name}: live vs training data`, wide: 350 },
          inOrder(profileBins(reference, counts), features[name]),
          (data, frame) => profileSvg(data, { ...frame, subject: name }),
        )
        const legend = profileLegend(sum(reference.counts), counts === undefined ? null : sum(counts))
        const feature = features[name]
        const unit = feature?.kind === 'number' ? feature.unit : undefined
        return { name, about: feature?.about, unit, chart, legend, psi: row?.psi, level: row?.level }
      }),
    )
    return { model, version, parts, total: profile.features.length }
  },
  title: ({ model }) => `Inputs of ${model}`,
  view: ({ model, version, parts, total }) => (
    <>
      <ModelCrumbs model={model} />
      <h1>Inputs of {model}</h1>
      {version === undefined ? (
        <p class="empty">{model} has no live version</p>
      ) : parts.length === 0 ? (
        <p class="empty">{version} has no profile of its training data</p>
      ) : (
        <>
          <p>
            Live inputs of {version} (last {hours} h) vs its training data
            {total > maxFeatures && ` · ${maxFeatures} of ${total} features, highest PSI first`}
          </p>
          <div class="grid">
            {parts.map((part) => (
              <Part {...part} />
            ))}
          </div>
        </>
      )}
    </>
  ),
})

const Part = ({ name, about, unit, chart, legend, psi, level }: FeaturePart): PageElement => (
  <section class="card">
    <h2>
      {name} {unit !== undefined && <span class="quiet">in {unit} </span>}
      {level !== undefined && (
        <Badge tone={levelTones[level] ?? 'quiet'}>
          {levelText(level)}
          {psi != null && ` · PSI ${psiText(psi)}`}
        </Badge>
      )}
    </h2>
    {about !== undefined && <p class="quiet small">{sentenceCase(about)}</p>}
    <ChartFigure chart={chart} note={legend} />
  </section>
)

const sum = (counts: readonly number[]): number => counts.reduce((total, each) => total + each, 0)
