/** Tests that a traffic without a field that it needs is refused, and that the default counters of Traefik are those of one rule of one route. */
import { describe, expect, it } from 'vitest'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { dayPolicy } from '../../domain/release/policy.ts'
import { compileTraffic, type TrafficSpec } from '../../models/define/traffic.ts'

const policy: ReleasePolicy = {
  ...dayPolicy,
  watch: { ...dayPolicy.watch, exposureMs: 900_000 },
}
const compile = (spec: unknown) => {
  const issues: string[] = []
  const traffic = compileTraffic((_, issue) => void issues.push(issue), spec as TrafficSpec, policy)
  return { issues, traffic }
}
const place = { namespace: 'default', name: 'roses', metrics: { source: 'prometheus' } }
const whole: { [K in TrafficSpec['gateway']]: Extract<TrafficSpec, { gateway: K }> } = {
  haproxy: { gateway: 'haproxy', address: '10.0.0.5:9999', backend: 'roses' },
  sagemaker: { gateway: 'sagemaker', region: 'eu-west-1', endpoint: 'roses', secret: 'aws' },
  http_route: { gateway: 'http_route', ...place },
  kserve: { gateway: 'kserve', ...place },
}

describe.each(Object.entries(whole))('a traffic by %s', (_, spec) => {
  it('is taken when it is whole', () => {
    expect(compile(spec).issues).toEqual([])
  })
  const fields = Object.keys(spec).filter((field) => field !== 'gateway')
  it.each(fields)('is refused without %s, and with one that is no text', (field) => {
    for (const value of [undefined, null, 7, {}, []]) {
      const { issues, traffic } = compile({ ...spec, [field]: value })
      expect(issues.join()).toContain(field)
      expect(JSON.stringify(traffic)).not.toMatch(/undefined|null|object/)
    }
  })
})

it('refuses addresses of SageMaker without one of them', () => {
  const addresses = { sagemaker: 'https://vpce.example' }
  expect(compile({ ...whole.sagemaker, addresses }).issues.join()).toContain('addresses.cloudwatch')
})

describe('the default counters of Traefik', () => {
  const selects = (change: object, service: string, label: string): boolean => {
    const { traffic } = compile({ ...whole.http_route, namespace: 'models', ...change })
    if (traffic.gateway !== 'http_route') throw new Error('it is another gateway')
    const filled = traffic.metrics.requests
      .replaceAll('$namespace', traffic.namespace)
      .replaceAll('$service', service)
    return new RegExp(`^(?:${/service=~"(.*)"/.exec(filled)![1]!})$`).test(label)
  }
  // Measured at Traefik 3.7.15.
  const label =
    'httproute-models-roses-gw-models-models-ep-callers-0-5c466772eb1d8b8584f9-svc-models-roses-v1-1-0-1@kubernetesgateway'
  it.each<[boolean, object, string]>([
    [true, {}, 'roses-v1-1-0'],
    [false, {}, 'roses-v1-0-0'],
    [false, {}, 'v1-1-0'],
    [false, { rule: 1 }, 'roses-v1-1-0'],
    [false, { name: 'tulips' }, 'roses-v1-1-0'],
    [false, { name: 'other-roses' }, 'roses-v1-1-0'],
    [false, { namespace: 'other' }, 'roses-v1-1-0'],
  ])('select %s for %j and the Service %s', (isSelected, change, service) => {
    expect(selects(change, service, label)).toBe(isSelected)
  })
  it('have the normalized name of the route, and that of the Service as it is', () => {
    const named = label
      .replace('-models-roses-gw', '-models-red-roses-eu-gw')
      .replace('roses-v1', 'my--roses-v1')
    expect(selects({ name: 'red--roses.eu' }, 'my--roses-v1-1-0', named)).toBe(true)
  })
})
