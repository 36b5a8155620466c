/** Draws the distribution of a feature in training and in live traffic, bin by bin. */
import { binNames, type Profile } from '../domain/model/reference-profile.ts'
import { roomFor } from './axis.ts'
import { colours } from './colours.ts'
import { count, figure, finite, percent, short } from './figures.ts'
import { draw, drawNothing, isNarrow, type Frame } from './render.ts'

export interface ProfileBin {
  /** Unique, unlike the names. */
  key: string
  name: string
  /** Shares of all rows; `live` is null without live counts. */
  training: number
  live: number | null
}

/** The bins in the order of the profile, without empty categories. */
export function profileBins(profile: Profile, live?: readonly number[]): ProfileBin[] {
  const sum = (counts: readonly number[]) => counts.reduce((total, each) => total + (finite(each) ?? 0), 0)
  const rows = sum(profile.counts)
  const fits = live !== undefined && live.length === profile.counts.length && sum(live) > 0
  const liveRows = fits ? sum(live) : 0
  return namesOf(profile)
    .map((name, i) => ({
      key: String(i),
      name,
      training: rows > 0 ? (finite(profile.counts[i]) ?? 0) / rows : 0,
      live: fits ? (finite(live[i]) ?? 0) / liveRows : null,
    }))
    .filter(
      ({ training, live: now }, i) =>
        training > 0 || (now ?? 0) > 0 || (profile.kind === 'number' && i <= profile.edges.length),
    )
}

const words: Readonly<Record<string, string>> = {
  __other__: 'other',
  __new__: 'never seen',
  __missing__: 'missing',
}

/** Names of the bins; a numeric one as `12 – 15.5`. */
function namesOf(profile: Profile): string[] {
  const last = binNames(profile).map((name) => words[name] ?? name)
  if (profile.kind === 'category') return last
  const { edges } = profile
  return last.map((name, i) => {
    if (edges.length === 0 || i > edges.length) return name
    if (i === 0) return `< ${figure(edges[0])}`
    return i === edges.length ? `≥ ${figure(edges[i - 1])}` : `${figure(edges[i - 1])} – ${figure(edges[i])}`
  })
}

const maxBins = 24

export async function profileSvg(
  given: readonly ProfileBin[],
  { subject, ...frame }: Omit<Frame, 'description'> & { subject: string },
): Promise<string> {
  const bins = given
    .slice(0, maxBins)
    .map((bin) => ({ ...bin, training: finite(bin.training) ?? 0, live: finite(bin.live) }))
  if (bins.length === 0)
    return drawNothing({ ...frame, description: '' }, `No data for ${short(subject, 40)}`)
  const compared = bins.some(({ live }) => live !== null)
  const gap = bins.reduce((widest, bin) =>
    Math.abs((bin.live ?? bin.training) - bin.training) >
    Math.abs((widest.live ?? widest.training) - widest.training)
      ? bin
      : widest,
  )
  const full = {
    ...frame,
    description: compared
      ? `${short(subject, 60)}: the largest change is in ${short(gap.name, 40)}, ${percent(gap.training)} in training and ${percent(gap.live)} live.`
      : `${short(subject, 60)} in training: ${bins.map(({ name, training }) => `${short(name, 30)} ${percent(training)}`).join(', ')}.`,
  }
  const narrow = isNarrow(full)
  const name = new Map(bins.map((bin) => [bin.key, short(bin.name, narrow ? 14 : 20)]))
  const two = (bin: (typeof bins)[number]) =>
    `${short(bin.name, 80)}: ${percent(bin.training)} in training${bin.live === null ? '' : `, ${percent(bin.live)} live`}`
  return draw(full, (plot) => ({
    height: 30 + bins.length * 20,
    marginLeft: roomFor([...name.values()]),
    marginRight: 20,
    marginTop: 8,
    marginBottom: 22,
    x: {
      label: null,
      ticks: narrow ? 3 : 5,
      tickFormat: (share: number) => percent(share),
      grid: true,
      zero: true,
      nice: true,
    },
    y: {
      type: 'band',
      domain: bins.map(({ key }) => key),
      label: null,
      tickSize: 0,
      tickFormat: (key: string) => name.get(key) ?? '',
      paddingInner: 0.25,
    },
    marks: [
      plot.barX(bins, { x: 'training', y: 'key', fill: colours.line, fillOpacity: 0.45, title: two }),
      ...(compared
        ? [
            plot.barX(
              bins.filter(({ live }) => live !== null),
              { x: 'live', y: 'key', insetTop: 5, insetBottom: 5, fill: colours.main, title: two },
            ),
          ]
        : []),
    ],
  }))
}

/** The legend of the chart. */
export const profileLegend = (rows: number, liveRows: number | null): string =>
  `Wide: ${count(rows)} training rows${liveRows === null ? '' : ` · narrow: ${count(liveRows)} live rows`}`
