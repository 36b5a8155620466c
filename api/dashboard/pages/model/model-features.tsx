/** What a model is asked, feature by feature, beside what its champion was trained on. */
import { psiText } from '../../../../charts/figures.ts'
import { profileBins, profileLegend, profileSvg } from '../../../../charts/profile.ts'
import type { Profile } from '../../../../domain/model/reference-profile.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { findWindow } from '../../../../store/serving/feature-counts.ts'
import { findLastDrift } from '../../../../store/dashboard/drift-windows.ts'
import { getModel } from '../../../../store/registry/models.ts'
import { getVersion } from '../../../../store/registry/versions.ts'
import { requireModelAccess } from '../../../auth/authorization.ts'
import { page, type View } from '../../page.ts'
import { drawn, Drawing, type Drawn } from '../../components/chart.tsx'
import { Badge, type Tone } from '../../components/elements.tsx'

/** A page of a model with hundreds of features shows those that have moved most. */
const mostFeatures = 24
const hourMs = 3_600_000
const hours = 24

interface FeaturePart {
  name: string
  chart: Drawn
  legend: string
  psi: number | null
  level: string | undefined
}

interface Features {
  model: string
  version?: string
  parts: FeaturePart[]
  total: number
}

export const featuresPage = page<Features>({
  async load({ store, serving }, { actor, params }) {
    const { name: model } = await getModel(store, params['name']!)
    requireModelAccess(actor, model)
    const champion = await findChampion(store, model)
    if (champion === undefined) return { model, parts: [], total: 0 }
    const nowMs = serving.wall()
    const [{ manifest }, live, drift] = await Promise.all([
      getVersion(store, champion.version),
      findWindow(store, {
        model,
        version: champion.version,
        fromMs: nowMs - hours * hourMs,
        toMs: nowMs + hourMs,
      }),
      findLastDrift(store, model),
    ])
    const { profile } = manifest
    if (profile === undefined) return { model, version: champion.version, parts: [], total: 0 }
    const known = new Map(
      (drift?.version === champion.version ? drift.report.features : []).map((row) => [row.name, row]),
    )
    const ranked = profile.features.toSorted(
      (one, other) => (known.get(other.name)?.psi ?? -1) - (known.get(one.name)?.psi ?? -1),
    )
    const score =
      profile.score === undefined
        ? []
        : [{ name: 'what it answers', reference: profile.score, counts: live?.score }]
    const shown = [
      ...score,
      ...ranked
        .slice(0, mostFeatures)
        .map((reference) => ({ name: reference.name, reference, counts: live?.features[reference.name] })),
    ]
    const parts = await Promise.all(
      shown.map(async ({ name, reference, counts }, i): Promise<FeaturePart> => {
        const bins = profileBins(reference, counts)
        return {
          name,
          chart: await drawn(
            { id: `feature-${i}`, title: `${name} in training and in use`, wide: 350 },
            bins,
            (data, frame) => profileSvg(data, { ...frame, subject: name }),
          ),
          legend: profileLegend(rowsOf(reference), counts === undefined ? null : sum(counts)),
          psi: known.get(name)?.psi ?? null,
          level: known.get(name)?.level,
        }
      }),
    )
    return { model, version: champion.version, parts, total: profile.features.length }
  },
  title: ({ model }) => `Features of ${model}`,
  view: ({ model, version, parts, total }) => (
    <>
      <p class="crumbs">
        <a href="/models">Models</a> › <a href={`/models/${encodeURIComponent(model)}`}>{model}</a>
      </p>
      <h1>Features of {model}</h1>
      {version === undefined ? (
        <p class="empty">No version answers for {model}, so nothing is asked.</p>
      ) : parts.length === 0 ? (
        <p class="empty">{version} keeps no profile of its training rows.</p>
      ) : (
        <>
          <p>
            What {version} was trained on, and what it was asked in the last {hours} hours
            {total > mostFeatures && `: the ${mostFeatures} of ${total} features that have moved most`}.
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

const tones: Readonly<Record<string, Tone>> = { stable: 'good', warn: 'warn', alarm: 'bad' }

const Part = ({ name, chart, legend, psi, level }: FeaturePart): View => (
  <section class="card">
    <h2>
      {name}{' '}
      {level !== undefined && (
        <Badge tone={tones[level] ?? 'quiet'}>
          {level}
          {psi !== null && ` ${psiText(psi)}`}
        </Badge>
      )}
    </h2>
    <Drawing chart={chart} note={legend} />
  </section>
)

const sum = (counts: readonly number[]): number => counts.reduce((total, each) => total + each, 0)
const rowsOf = ({ counts }: Profile): number => sum(counts)
