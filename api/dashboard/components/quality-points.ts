/** Converts quality windows to chart points with intervals. */
import type { QualityPoint } from '../../charts/quality.ts'
import type { QualityWindow } from '../../../store/dashboard/windows.ts'
import { isWithinMargin, type QualityReport } from '../../../domain/monitoring/quality.ts'
import { qualityInterval } from './quality-interval.ts'

/** A point with the metrics beside the primary one. `isWithin`: whether the value itself is within the limit, not only by chance. */
export type MeasuredPoint = QualityPoint & Pick<QualityReport, 'metrics'> & { isWithin: boolean }

export function qualityPoints(windows: readonly QualityWindow[]): MeasuredPoint[] {
  return windows.map(({ version, toMs, report, positives }) => {
    const { value, baseline, margin, rows, metric, metrics, level, higherIsBetter } = report
    const [low, high] = qualityInterval({ metric, value, rows }, positives) ?? []
    return {
      atMs: toMs,
      value,
      low: low ?? null,
      high: high ?? null,
      baseline,
      limit: baseline === null ? null : higherIsBetter ? baseline - margin : baseline + margin,
      version,
      level,
      isWithin: isWithinMargin(report),
      rows,
      metrics,
    }
  })
}
