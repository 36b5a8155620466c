/** The public interface: sequential tests, metrics with their uncertainty, drift statistics and the distributions behind them. */

// Sequential tests
export { type EProcess, eProcess, geometric, ratioGrid, inverseGrid } from './e-process.ts'
export {
  type RateTick,
  type TwoArmRateOptions,
  type TwoArmRateTest,
  twoArmRateTest,
  isRateTick,
} from './two-arm-rate-test.ts'
export { type RatioBounds, type RatioThresholds, ratioSequence } from './ratio-sequence.ts'
export { type OneArmRateTest, oneArmRateTest, oneArmRateGains } from './one-arm-rate-test.ts'
export { pairedEvidence } from './paired-test.ts'
export { type PairedCounts, nonInferiorityEvidence } from './non-inferiority-test.ts'
export {
  type ValueCounts,
  countDifferences,
  differenceCounter,
  meanAboveEvidence,
  drawsOf,
  meanOf,
  meanInterval,
  type MeanTest,
  meanAboveZero,
  meanAbove,
  meanBelow,
} from './bounded-mean.ts'
export { type SrmOptions, srmEvidence } from './sample-ratio-mismatch.ts'
export { type DetectorState, detectorRates, addToDetector, detectorThreshold } from './rate-detector.ts'
export { thresholdFor, splitAlpha } from './alpha.ts'

// Metrics and their uncertainty
export { midranks, orderOf, auc } from './auc.ts'
export { aucInterval, aucError } from './auc-interval.ts'
export { type DeLong, type DifferenceError, delong, delongByEntity } from './delong.ts'
export { type McNemar, mcnemar, mcnemarP } from './mcnemar.ts'
export { type Calibration, calibration, crossFittedGaps } from './calibration.ts'
export { type Recalibration, fitRecalibration, recalibrated } from './platt-scaling.ts'
export { type ExpectedMetrics, expectedMetrics } from './cbpe.ts'
export { rankStatistic, topStatistic } from './rank-statistic.ts'
export {
  type StatisticColumn,
  type SumStatistic,
  type WeightStatistic,
  type Statistic,
  type BootstrapOptions,
  pointValue,
  maxDrawnRows,
  bootstrap,
  sumByUnit,
  ownersOf,
  type Interval,
  percentileInterval,
} from './bootstrap.ts'
export { meanOfStatistics } from './mean-statistic.ts'
export { weightedStatistic, effectiveRows } from './weighted-statistic.ts'
export { meanError } from './mean-error.ts'
export { type BinomialInterval, binomialInterval } from './binomial-interval.ts'
export { type RateInterval, rateInterval, differenceOfRates, ratioOfRates } from './rate-comparison.ts'
export { benjaminiHochberg, holm, eBenjaminiHochberg } from './multiple-testing.ts'

// Drift
export { type Psi, populationStability } from './psi.ts'
export { type ChiSquare, chiSquareHomogeneity } from './chi-square.ts'
export { type KolmogorovSmirnov, kolmogorovSmirnov, kolmogorovTailOf } from './kolmogorov-smirnov.ts'
export { type Wasserstein, wasserstein } from './wasserstein.ts'
export { jensenShannon } from './jensen-shannon.ts'
export { quantiles, quantileOfSorted, firstPlace } from './quantiles.ts'

// Distributions and random numbers
export {
  logAddExp,
  logMeanExp,
  sumOf,
  normalCdf,
  normalTwoSided,
  normalQuantile,
  chiSquareUpperTail,
  logGamma,
  logBeta,
  betaCdf,
  studentTwoSided,
  studentTwoSidedQuantile,
  betaQuantile,
  binomialPmf,
  binomialCdf,
} from './distributions.ts'
export { seededRandom, type SeededDraws, seededDraws } from './random.ts'
export { type Uniform, poisson, binomial, multinomial, standardNormal } from './random-variates.ts'
