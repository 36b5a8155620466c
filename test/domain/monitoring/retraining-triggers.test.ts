import { describe, expect, it } from 'vitest'
import {
  cooldownMs,
  defaultTriggerPolicy,
  findTriggers,
  judgeTrigger,
  type PastTraining,
  type Trigger,
  type TriggerHistory,
  type TriggerReason,
} from '../../../domain/monitoring/retraining-triggers.ts'

const hour = 3_600_000
const day = 24 * hour
const now = 100 * day
const facts = { model: 'm', champion: 'm_v1.0.0', windowEndMs: now }

const trigger = (reason: TriggerReason, dedupeKey = 'new'): Trigger => ({
  model: 'm',
  reason,
  dedupeKey,
  message: '',
  evidence: {},
})
const past = (
  agoMs: number,
  outcome: PastTraining['outcome'],
  reason: TriggerReason = 'schedule',
): PastTraining => ({
  startedMs: now - agoMs,
  reason,
  dedupeKey: `past ${agoMs}`,
  outcome,
})
const history = (trainings: PastTraining[], more: Partial<TriggerHistory> = {}): TriggerHistory => ({
  trainings,
  newRows: null,
  trainingRows: null,
  ...more,
})
const decide = (reason: TriggerReason, trainings: PastTraining[], more: Partial<TriggerHistory> = {}) => {
  const { action, code } = judgeTrigger(trigger(reason), history(trainings, more), now)
  return [action, code]
}

describe('a retraining trigger', () => {
  it('is lost quality, with its reason, and not a loss that is uncertain', () => {
    const figures = { metric: 'auc', value: 0.7, baseline: 0.72, margin: 0.01, reasons: ['auc 0.7'] }
    const [found] = findTriggers({ ...facts, quality: { ...figures, level: 'lost' } })
    const { metric, value, baseline, margin } = figures
    expect(found).toMatchObject({
      reason: 'quality',
      message: 'auc 0.7',
      evidence: { metric, value, baseline, margin },
    })
    expect(findTriggers({ ...facts, quality: { ...figures, level: 'held' } })).toEqual([])
    expect(findTriggers({ ...facts, quality: { ...figures, level: 'insufficient' } })).toEqual([])
  })

  it('is drift, in any order of its features', () => {
    const [a] = findTriggers({ ...facts, driftAlarms: ['x', 'b'] })
    const [b] = findTriggers({ ...facts, driftAlarms: ['b', 'x'] })
    expect(a).toEqual(b)
    // A sudden drift alarms in its first window.
    expect(a!.message).toBe('in drift alarm: b, x')
    expect(findTriggers({ ...facts, driftAlarms: [] })).toEqual([])
  })

  it('is a fifth of new matured rows, and again after as many', () => {
    const key = (newMaturedRows: number, lastTrainingMs = 0) =>
      findTriggers({ ...facts, newMaturedRows, trainingRows: 1_000, lastTrainingMs })[0]?.dedupeKey
    expect(key(199)).toBeUndefined()
    expect(key(200)).toBe(key(399))
    expect(key(400)).not.toBe(key(200))
    // A training that was not better counts the rows anew, and its next fifth is another reason.
    expect(key(200, 5_000)).not.toBe(key(200))
    expect(findTriggers({ ...facts, newMaturedRows: 5, trainingRows: 0 })).toEqual([])
  })
})

describe('a request', () => {
  it.each(['schedule', 'manual', 'drift', 'quality', 'labels'] as const)(
    'by %s starts when nothing holds it back',
    (reason) => {
      expect(decide(reason, [])).toEqual(['start', 'clear'])
      expect(decide(reason, [past(3 * day, 'released')])).toEqual(['start', 'clear'])
    },
  )

  it('waits for the end of an open release, which no schedule or user does', () => {
    const open = { releasing: 'roses_v1.1.0' }
    for (const reason of ['drift', 'quality', 'labels'] as const)
      expect(decide(reason, [], open)).toEqual(['skip', 'releasing'])
    for (const reason of ['schedule', 'manual', 'trigger'] as const)
      expect(decide(reason, [], open)).toEqual(['start', 'clear'])
  })

  it('with the evidence of an earlier one is dropped', () => {
    const same = { ...past(30 * day, 'released'), dedupeKey: 'k' }
    expect(judgeTrigger(trigger('manual', 'k'), history([same]), now)).toMatchObject({
      action: 'skip',
      code: 'duplicate',
    })
  })

  it('is dropped while a training runs', () => {
    const running = [past(hour, null)]
    expect(decide('manual', running)).toEqual(['skip', 'running'])
    expect(decide('schedule', running)).toEqual(['skip', 'running'])
  })

  it.each([
    ['drift', 24],
    ['quality', 6],
    ['labels', 24],
  ] as const)(
    'by %s is held for %d hours after an automatic training, a quarter of it after another',
    (reason, hours) => {
      const automatic = (agoMs: number) => [past(agoMs, 'released', 'labels')]
      expect(decide(reason, automatic(hours * hour - 1))).toEqual(['skip', 'cool_down'])
      expect(decide(reason, automatic(hours * hour))).toEqual(['start', 'clear'])
      for (const other of ['schedule', 'manual', 'trigger'] as const) {
        const trained = (agoMs: number) => [past(agoMs, 'released', other)]
        expect(decide(reason, trained((hours / 4) * hour - 1))).toEqual(['skip', 'cool_down'])
        expect(decide(reason, trained((hours / 4) * hour))).toEqual(['start', 'clear'])
      }
    },
  )

  it('starts beside a daily schedule that brings no better version, and then waits for its own cool-down', () => {
    const daily = Array.from({ length: 30 }, (_, i) => past(7 * hour + i * day, 'not_better'))
    expect(decide('drift', daily)).toEqual(['start', 'clear'])
    expect(decide('quality', daily)).toEqual(['start', 'clear'])
    const own = past(25 * hour, 'not_better', 'drift')
    const { code, message, retryAtMs } = judgeTrigger(trigger('drift'), history([...daily, own]), now)
    expect([code, retryAtMs]).toEqual(['cool_down', now + 23 * hour])
    expect(message).toContain('the last automatic training started less than 48 h ago, after 1 in a row')
    const { message: just } = judgeTrigger(trigger('drift'), history([past(hour, 'not_better')]), now)
    expect(just).toBe('the last training started less than 6 h ago')
  })

  it('is not delayed by a version that was made smaller, but by one that is being made smaller', () => {
    const refused = past(hour, 'not_better', 'trigger')
    expect(decide('drift', [refused], { newRows: 0, trainingRows: 100 })).toEqual(['skip', 'cool_down'])
    const compressed = { ...refused, isCompression: true }
    expect(decide('drift', [compressed], { newRows: 0, trainingRows: 100 })).toEqual(['start', 'clear'])
    expect(decide('drift', [{ ...compressed, outcome: null }])).toEqual(['skip', 'running'])
  })

  it('by hand or by schedule has no cool-down and no cap', () => {
    const many = Array.from({ length: 6 }, (_, i) => past(i * hour + 1, 'not_better'))
    expect(decide('manual', many)).toEqual(['start', 'clear'])
    expect(decide('schedule', many)).toEqual(['start', 'clear'])
  })

  it('is one of four a week, and has the time of the next free slot', () => {
    const four = [2, 3, 4, 5].map((days) => past(days * day, 'released', 'labels'))
    const decision = judgeTrigger(trigger('drift'), history(four), now)
    expect(decision).toMatchObject({ action: 'skip', code: 'weekly_cap', retryAtMs: now + 2 * day })
    expect(decide('drift', [...four.slice(0, 3), past(8 * day, 'released', 'labels')])).toEqual([
      'start',
      'clear',
    ])
    // Those of users and schedules do not count.
    const others = (['schedule', 'manual'] as const).map((reason) => past(2 * day, 'released', reason))
    expect(decide('drift', [...four.slice(0, 3), ...others])).toEqual(['start', 'clear'])
  })

  it('has a growing cool-down after trainings without a better version', () => {
    const rejected = (count: number, agoMs: number) =>
      Array.from({ length: count }, (_, i) => past(agoMs + i * day, 'not_better', 'drift'))
    expect(decide('drift', rejected(1, 2 * day - 1))).toEqual(['skip', 'cool_down'])
    expect(decide('drift', rejected(1, 2 * day))).toEqual(['start', 'clear'])
    expect(decide('drift', rejected(2, 4 * day - 1))).toEqual(['skip', 'cool_down'])
    expect(decide('drift', rejected(3, 7 * day - 1))).toEqual(['skip', 'cool_down'])
    expect(decide('drift', rejected(3, 7 * day))).toEqual(['start', 'clear'])
    expect(decide('drift', [past(day, 'released'), ...rejected(2, 2 * day)])).toEqual(['start', 'clear'])
    expect(decide('drift', [past(day, 'rolled_back', 'drift'), ...rejected(2, 2 * day)])).toEqual([
      'skip',
      'cool_down',
    ])
    const { retryAtMs, message } = judgeTrigger(trigger('drift'), history(rejected(1, day)), now)
    expect(retryAtMs).toBe(now + day)
    expect(message).toContain('48 h')
  })

  it.each(['failed', 'quarantined'] as const)(
    'comes less and less often after trainings of its own that ended as %s',
    (outcome) => {
      const broken = (count: number, agoMs: number, reason: TriggerReason = 'drift') =>
        Array.from({ length: count }, (_, i) => past(agoMs + i * day, outcome, reason))
      expect(decide('drift', broken(1, 2 * day - 1))).toEqual(['skip', 'cool_down'])
      expect(decide('drift', broken(1, 2 * day))).toEqual(['start', 'clear'])
      expect(decide('quality', broken(3, 7 * day - 1))).toEqual(['skip', 'cool_down'])
      expect(decide('quality', broken(3, 7 * day))).toEqual(['start', 'clear'])
      // They add up with the rejected trainings and reset with them.
      const mixed = [...broken(2, 5 * day, 'labels'), past(4 * day, 'not_better', 'drift')]
      expect(decide('drift', mixed)).toEqual(['skip', 'cool_down'])
      expect(decide('drift', [past(day, 'registered'), ...broken(2, 2 * day)])).toEqual(['start', 'clear'])
      // The worker may be the cause, so no new rows are required, unlike after a rejection.
      expect(decide('drift', broken(1, 2 * day), { newRows: 0, trainingRows: 1_000 })).toEqual([
        'start',
        'clear',
      ])
      // A manual training neither delays others nor is delayed.
      expect(
        decide('quality', [...broken(1, 7 * hour, 'manual'), ...broken(1, 8 * hour, 'schedule')]),
      ).toEqual(['start', 'clear'])
      expect(decide('manual', broken(5, hour))).toEqual(['start', 'clear'])
    },
  )

  it('after a rejection needs a tenth of new rows', () => {
    const rejected = [past(3 * day, 'not_better')]
    expect(decide('drift', rejected, { newRows: 99, trainingRows: 1_000 })).toEqual([
      'skip',
      'too_few_new_rows',
    ])
    expect(decide('drift', rejected, { newRows: 100, trainingRows: 1_000 })).toEqual(['start', 'clear'])
    expect(decide('manual', rejected, { newRows: 0, trainingRows: 1_000 })).toEqual(['start', 'clear'])
  })

  it('never exceeds the longest cool-down', () => {
    expect(
      [0, 1, 2, 3, 50].map((rejects) => cooldownMs('quality', rejects, defaultTriggerPolicy) / hour),
    ).toEqual([6, 12, 24, 168, 168])
  })

  it('of a thousand in a minute starts one', () => {
    const trainings: PastTraining[] = []
    for (let i = 0; i < 1_000; i++) {
      const atMs = now + i * 60
      const { action } = judgeTrigger(trigger('drift', `k${i}`), history(trainings), atMs)
      if (action === 'start')
        trainings.push({ startedMs: atMs, reason: 'drift', dedupeKey: `k${i}`, outcome: null })
    }
    expect(trainings).toHaveLength(1)
  })
})
