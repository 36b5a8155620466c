/** Tests when each channel is notified of an alert: first, again, escalated and resolved. */
import { describe, expect, it } from 'vitest'
import {
  dueNotifications,
  retryDelayMs,
  type AlertFacts,
  type Channel,
  type DeliveryRecord,
} from '../../../domain/monitoring/alert-escalation.ts'

const minute = 60_000
const chat: Channel = {
  name: 'chat',
  target: { kind: 'slack', url: 'http://chat' },
  setBy: 'machine',
  severities: ['warning', 'critical'],
  afterMs: 0,
}
const pager: Channel = {
  name: 'pager',
  target: { kind: 'webhook', url: 'http://pager' },
  setBy: 'machine',
  severities: ['critical'],
  afterMs: 10 * minute,
  repeatMs: 30 * minute,
}
const relay: Channel = { ...chat, name: 'relay', target: { kind: 'alertmanager', url: 'http://relay' } }
const alert: AlertFacts = { severity: 'critical', model: 'iris', raisedMs: 0 }

/** Evaluates every minute until `toMs` and returns the notifications of each minute. */
function deliveriesUntil(toMs: number, channels: Channel[], at: (nowMs: number) => AlertFacts): string[] {
  const deliveries: DeliveryRecord[] = []
  for (let nowMs = 0; nowMs <= toMs; nowMs += minute)
    deliveries.push(...dueNotifications(at(nowMs), { channels, deliveries, nowMs }))
  return deliveries.map(({ channel, about, dueMs }) => `${dueMs / minute} ${channel} ${about}`)
}

describe('an alert', () => {
  it('is sent at once to some channels, to others while it is unacknowledged, and to those repeatedly', () => {
    expect(deliveriesUntil(75 * minute, [chat, pager], () => alert)).toEqual([
      '0 chat raised',
      '10 pager raised',
      '40 pager raised',
      '70 pager raised',
    ])
  })

  it('is sent again when it has become more severe, also where it was sent as a warning', () => {
    const rising = (nowMs: number): AlertFacts =>
      nowMs < 20 * minute
        ? { ...alert, severity: 'warning', ...(nowMs >= 5 * minute && { acknowledgedMs: 5 * minute }) }
        : { ...alert, worst: 'critical', worstMs: 20 * minute }
    expect(deliveriesUntil(40 * minute, [chat, pager], rising)).toEqual([
      '0 chat raised',
      '20 chat raised',
      '30 pager raised',
    ])
  })

  it('is sent again when it became more severe while the message of the warning was on its way', () => {
    const left: DeliveryRecord = { channel: 'chat', about: 'raised', dueMs: 0, sentMs: 21 * minute }
    const risen: AlertFacts = { ...alert, worst: 'critical', worstMs: 20 * minute }
    const after = (sentSeverity: 'warning' | 'critical') =>
      dueNotifications(risen, {
        channels: [chat],
        deliveries: [{ ...left, sentSeverity }],
        nowMs: 22 * minute,
      })
    expect(after('warning')).toEqual([{ channel: 'chat', about: 'raised', dueMs: 20 * minute }])
    expect(after('critical')).toEqual([])
  })

  it('is not repeated while its delivery is pending, and repeated an interval after its delivery', () => {
    const waiting: DeliveryRecord = { channel: 'pager', about: 'raised', dueMs: 10 * minute, waits: true }
    const at = (nowMs: number, deliveries: DeliveryRecord[]) =>
      dueNotifications(alert, { channels: [pager], deliveries, nowMs })
    expect(at(300 * minute, [waiting])).toEqual([])
    const arrived: DeliveryRecord = { ...waiting, waits: false, sentMs: 100 * minute }
    expect(at(129 * minute, [arrived])).toEqual([])
    expect(at(130 * minute, [arrived])).toEqual([{ channel: 'pager', about: 'raised', dueMs: 130 * minute }])
  })

  it('is sent to no channel after its acknowledgement, except its resolution', () => {
    const at = (nowMs: number): AlertFacts => ({
      ...alert,
      ...(nowMs >= 15 * minute ? { acknowledgedMs: 15 * minute } : {}),
      ...(nowMs >= 60 * minute ? { resolvedMs: 60 * minute } : {}),
    })
    expect(deliveriesUntil(90 * minute, [chat, pager], at)).toEqual([
      '0 chat raised',
      '10 pager raised',
      '60 chat resolved',
      '60 pager resolved',
    ])
  })

  it('that has ended is sent as ended after what is still under way to the channel', () => {
    const ended = { ...alert, resolvedMs: 60 * minute }
    const raised: DeliveryRecord = { channel: 'chat', about: 'raised', dueMs: 0, sentMs: null }
    const at = (waits: boolean) =>
      dueNotifications(ended, { channels: [chat], deliveries: [{ ...raised, waits }], nowMs: 61 * minute })
    expect(at(true)).toEqual([])
    expect(at(false)).toEqual([{ channel: 'chat', about: 'resolved', dueMs: 60 * minute }])
  })

  it('that ends before the escalation is never sent to that channel', () => {
    const at = (nowMs: number): AlertFacts => ({
      ...alert,
      ...(nowMs >= 5 * minute ? { resolvedMs: 5 * minute } : {}),
    })
    expect(deliveriesUntil(60 * minute, [chat, pager], at)).toEqual(['0 chat raised', '5 chat resolved'])
  })

  it('of rising severity reaches channels for critical alerts only', () => {
    const at = (nowMs: number): AlertFacts => ({
      ...alert,
      severity: nowMs < 20 * minute ? 'warning' : 'critical',
    })
    expect(deliveriesUntil(25 * minute, [chat, pager], at)).toEqual(['0 chat raised', '10 pager raised'])
  })

  it('of another model, or without a model, is not sent to a channel of one model', () => {
    const mine = [{ ...chat, models: ['wine'] }]
    expect(deliveriesUntil(minute, mine, () => alert)).toEqual([])
    expect(deliveriesUntil(minute, mine, () => ({ severity: 'critical', raisedMs: 0 }))).toEqual([])
    expect(deliveriesUntil(minute, mine, () => ({ ...alert, model: 'wine' }))).toEqual(['0 chat raised'])
    expect(deliveriesUntil(minute, [chat], () => ({ ...alert, severity: 'info' }))).toEqual([])
  })

  it('is sent to an Alertmanager until it ends, acknowledged or not, because it expires there', () => {
    const at = (nowMs: number): AlertFacts => ({
      ...alert,
      acknowledgedMs: 0,
      ...(nowMs >= 3 * minute ? { resolvedMs: 3 * minute } : {}),
    })
    expect(deliveriesUntil(6 * minute, [relay], at)).toEqual([
      '0 relay raised',
      '1 relay raised',
      '2 relay raised',
      '3 relay resolved',
    ])
  })
})

describe('a request of a release', () => {
  const asked: AlertFacts = {
    severity: 'warning',
    model: 'iris',
    raisedMs: 0,
    isReleaseNews: true,
    expiresMs: 100 * minute,
  }

  it('reaches channels of other severities at once, and all of them again before it expires', () => {
    const night: Channel = { ...pager, afterMs: 0, repeatMs: undefined }
    expect(deliveriesUntil(100 * minute, [chat, night], () => asked)).toEqual([
      '0 chat raised',
      '0 pager raised',
      '50 chat reminder',
      '50 pager reminder',
      '90 chat reminder',
      '90 pager reminder',
    ])
    expect(deliveriesUntil(100 * minute, [{ ...night, releases: false }], () => asked)).toEqual([])
    expect(deliveriesUntil(100 * minute, [{ ...night, models: ['wine'] }], () => asked)).toEqual([])
  })

  it('sends one reminder for those that a silent sender missed, and none after an acknowledgement or an answer', () => {
    const deliveries: DeliveryRecord[] = [{ channel: 'chat', about: 'raised', dueMs: 0 }]
    const at = (nowMs: number, more: Partial<AlertFacts> = {}) =>
      dueNotifications({ ...asked, ...more }, { channels: [chat], deliveries, nowMs })
    expect(at(95 * minute)).toEqual([{ channel: 'chat', about: 'reminder', dueMs: 90 * minute }])
    expect(at(95 * minute, { acknowledgedMs: minute })).toEqual([])
    expect(at(95 * minute, { resolvedMs: 94 * minute })).toEqual([
      { channel: 'chat', about: 'resolved', dueMs: 94 * minute },
    ])
  })

  it('sends no reminder to an Alertmanager, nor to a channel that heard of it later', () => {
    expect(
      deliveriesUntil(60 * minute, [relay], () => asked).filter((each) => each.includes('reminder')),
    ).toEqual([])
    const deliveries: DeliveryRecord[] = [{ channel: 'chat', about: 'raised', dueMs: 0, sentMs: 60 * minute }]
    expect(dueNotifications(asked, { channels: [chat], deliveries, nowMs: 70 * minute })).toEqual([])
  })
})

describe('a notice', () => {
  it('is sent once although it is stored as resolved, and has no resolution', () => {
    const notice: AlertFacts = {
      severity: 'info',
      model: 'iris',
      raisedMs: 0,
      resolvedMs: 0,
      isReleaseNews: true,
      isNotice: true,
    }
    const loud = { ...pager, afterMs: 0 }
    expect(deliveriesUntil(90 * minute, [chat, loud], () => notice)).toEqual([
      '0 chat raised',
      '0 pager raised',
    ])
  })
})

describe('an undelivered message', () => {
  it('is retried with backoff for a day', () => {
    expect([1, 2, 3, 11, 500].map((attempts) => retryDelayMs(attempts, 0))).toEqual([
      1_000, 2_000, 4_000, 600_000, 600_000,
    ])
    expect(retryDelayMs(1, 86_399_999)).toBe(1_000)
    expect(retryDelayMs(1, 86_400_000)).toBeUndefined()
  })
})
