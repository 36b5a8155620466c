/** Tests what a version and its training cost at a price, and the guards beside the champion. */
import { describe, expect, it } from 'vitest'
import { costIssue, costText, priceOfTraining, pricePerPrediction } from '../../../domain/model/cost.ts'

const champion = { loadMs: 40, p50Us: 3, p99Us: 7, cpuUs: 3.6, rssBytes: 1_073_741_824 }
const price = { processorHour: 1, gibHour: 0.5, unit: '€' }

describe('a guard of the cost', () => {
  it.each([
    [
      'the 99th percentile',
      'p99Us',
      { p99Times: 1.5 },
      /^its time for a row at the 99th percentile is 2 times/,
    ],
    ['the processor time', 'cpuUs', { cpuTimes: 1.5 }, /^its processor time for a row is 2 times/],
    ['the memory', 'rssBytes', { rssTimes: 1.5 }, /^the memory of its process is 2 times/],
  ] as const)('refuses a candidate by %s', (_name, of, limits, reason) => {
    const twice = { candidate: { ...champion, [of]: 2 * champion[of] }, champion }
    expect(costIssue(twice, limits)).toMatch(reason)
    expect(costIssue({ candidate: champion, champion }, limits)).toBeUndefined()
    expect(costIssue(twice, {})).toBeUndefined()
    expect(costIssue({ candidate: twice.candidate }, limits)).toBeUndefined()
  })
})

describe('the price', () => {
  it('of a prediction is that of its processor time and of the memory in it', () => {
    // 3.6 µs are 10⁻⁹ h, with 1 GiB.
    expect(pricePerPrediction(champion, price)).toBeCloseTo(1.5e-9, 15)
    expect(pricePerPrediction(champion, { processorHour: 1, unit: '€' })).toBeCloseTo(1e-9, 15)
  })

  it('of a training is that of its processor time and of its most memory in all of its time', () => {
    const training = { cpuMs: 7_200_000, peakBytes: 2 * 1_073_741_824, ms: 3_600_000 }
    expect(priceOfTraining(training, price)).toBe(3)
  })

  it('of a version that is answered elsewhere is what its server charges', () => {
    const remote = { ...champion, paid: { per1000: 0.4, unit: '€' } }
    expect(costText({ candidate: remote, champion })).toContain(
      '0.4 € (champion nothing) for 1,000 predictions to the server that answers',
    )
    expect(costText({ candidate: champion, champion: remote })).toContain(
      'nothing (champion 0.4 €) for 1,000',
    )
    expect(costText({ candidate: champion })).not.toContain('server')
    expect(pricePerPrediction(remote, price)).toBeCloseTo(0.0004, 6)
    expect(pricePerPrediction(remote, { ...price, unit: '$' })).toBeCloseTo(1.5e-9, 15)
  })

  it('is not shown where the model file has none', () => {
    const training = { cpuMs: 7_200_000, peakBytes: 2 * 1_073_741_824, ms: 3_600_000 }
    const cost = { candidate: champion, champion, training }
    expect(costText(cost)).toContain(
      '3.6 ms (champion 3.6 ms) of processor time for 1,000 predictions, 1024 MiB (champion 1024 MiB) of memory',
    )
    expect(costText(cost)).toMatch(/trained in 7,200 s of processor time with at most 2048 MiB$/)
    expect(costText({ ...cost, price })).toContain('0.0000015 € (champion 0.0000015 €) for 1,000 predictions')
    expect(costText({ ...cost, price })).toMatch(/2048 MiB for 3 €$/)
  })
})
