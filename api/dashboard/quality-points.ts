/** Windows of quality as points of its chart, each with the interval that its metric has. */
import type { QualityPoint } from '../../charts/quality.ts'
import { aucInterval } from '../../domain/auc-interval.ts'
import type { QualityWindow } from '../../store/model-page.ts'
import { qualityInterval } from './quality.ts'

export type DatedPoint = QualityPoint & { toMs: number }

/** `positives`: their share among the test rows, from which those of a window are taken. */
export function pointsOf(windows: readonly QualityWindow[], positives: number | undefined): DatedPoint[] {
  return windows.map(({ version, fromMs, toMs, report }) => {
    const { value, baseline, margin, rows, metric, level, higherIsBetter } = report
    const [low, high] =
      qualityInterval({ metric, value, rows }) ?? rankInterval({ metric, value, rows }, positives) ?? []
    return {
      atMs: (fromMs + toMs) / 2,
      toMs,
      value,
      low: low ?? null,
      high: high ?? null,
      baseline,
      limit: baseline === null ? null : higherIsBetter ? baseline - margin : baseline + margin,
      version,
      level,
      rows,
    }
  })
}

function rankInterval(
  { metric, value, rows }: { metric: string; value: number | null; rows: number },
  share: number | undefined,
): [number, number] | undefined {
  if (metric !== 'auc' || value === null || share === undefined) return undefined
  return aucInterval(value, { positives: rows * share, negatives: rows * (1 - share) }) ?? undefined
}
