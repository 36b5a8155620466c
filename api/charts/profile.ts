/** Draws the distribution of a feature in training and in live traffic, bin by bin. */
import { shownBins, type Profile } from '../../domain/model/reference-profile.ts'
import { bandAxis, roomFor } from './axis.ts'
import { colours } from './colours.ts'
import { countText, figureText, finiteOrNull, percentOf, truncated } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace } from './render.ts'

export interface ProfileBin {
  /** Unique, unlike the names. */
  key: string
  name: string
  /** Shares of all rows; `live` is null without live counts. */
  training: number
  live: number | null
}

/** The bins in the order of the profile, without empty ones. */
export function profileBins(profile: Profile, live?: readonly number[]): ProfileBin[] {
  const sum = (counts: readonly number[]) =>
    counts.reduce((total, each) => total + (finiteOrNull(each) ?? 0), 0)
  const rows = sum(profile.counts)
  const fits = live !== undefined && live.length === profile.counts.length && sum(live) > 0
  const liveRows = fits ? sum(live) : 0
  return namesOf(profile)
    .map((name, i) => ({
      key: String(i),
      name,
      training: rows > 0 ? (finiteOrNull(profile.counts[i]) ?? 0) / rows : 0,
      live: fits ? (finiteOrNull(live[i]) ?? 0) / liveRows : null,
    }))
    .filter(({ training, live: now }) => training > 0 || (now ?? 0) > 0)
}

/** As few digits as keep the bins apart, because a range has to fit beside its bar. */
const namesOf = (profile: Profile): string[] =>
  shownBins(profile, 2, (edge, digits) =>
    figureText(digits > 3 || Math.abs(edge) >= 1 ? edge : Number(edge.toPrecision(digits))),
  )

const maxBins = 24

export async function profileSvg(
  given: readonly ProfileBin[],
  { subject, ...frame }: ChartPlace & { subject: string },
): Promise<string> {
  const bins = given
    .slice(0, maxBins)
    .map((bin) => ({ ...bin, training: finiteOrNull(bin.training) ?? 0, live: finiteOrNull(bin.live) }))
  if (bins.length === 0) return drawEmptyChart(frame, `No data for ${truncated(subject, 40)}`)
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
      ? `${truncated(subject, 60)}: the largest change is in ${truncated(gap.name, 40)}, ${percentOf(gap.training)} in training and ${percentOf(gap.live)} live.`
      : `${truncated(subject, 60)} in training: ${bins.map(({ name, training }) => `${truncated(name, 30)} ${percentOf(training)}`).join(', ')}.`,
  }
  const narrow = isNarrow(full)
  const name = new Map(bins.map((bin) => [bin.key, truncated(bin.name, narrow ? 14 : 20)]))
  const two = (bin: (typeof bins)[number]) =>
    `${truncated(bin.name, 80)}: ${percentOf(bin.training)} in training${bin.live === null ? '' : `, ${percentOf(bin.live)} live`}`
  return drawChart(full, (plot) => ({
    height: 30 + bins.length * 20,
    marginLeft: roomFor([...name.values()]),
    marginRight: 20,
    marginTop: 8,
    marginBottom: 22,
    x: {
      label: null,
      ticks: narrow ? 3 : 5,
      tickFormat: (share: number) => percentOf(share),
      grid: true,
      zero: true,
      nice: true,
    },
    y: bandAxis(bins, name, 0.25),
    marks: [
      plot.barX(bins, { x: 'training', y: 'key', fill: colours.line, fillOpacity: 0.45, title: two }),
      compared
        ? plot.barX(
            bins.filter(({ live }) => live !== null),
            { x: 'live', y: 'key', insetTop: 5, insetBottom: 5, fill: colours.main, title: two },
          )
        : null,
    ],
  }))
}

/** The legend of the chart. */
export const profileLegend = (rows: number, liveRows: number | null): string =>
  `Wide: ${countText(rows)} training rows${liveRows === null ? '' : ` · narrow: ${countText(liveRows)} live rows`}`
