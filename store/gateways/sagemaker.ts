/**
 * Moves the weights of the production variants of an endpoint of SageMaker, and counts their requests by CloudWatch. Both take JSON with the
 * name of the operation in a header; its shapes are those of AWS's service models `sagemaker` (2017-07-24) and `cloudwatch` (2010-08-01).
 */
import { z } from 'zod'
import {
  variantOf,
  versionOfVariant,
  type Gateway,
  type GatewayServer,
  type SagemakerTraffic,
} from '../../domain/serving/gateway.ts'
import { reasonOf } from '../../domain/errors.ts'
import type { createEndpointClient } from '../endpoint-client.ts'

/** Two of them and `answerMs` after an order lie below the time in which it may be carried out. */
const answerMs = 4_000
/** Of a day of ten variants. */
const maxBytes = 8_388_608
/** SageMaker limits the requests of an account, and CloudWatch charges for each metric that is asked for. */
const describedMs = 2_000
const countedMs = 20_000

const minuteMs = 60_000
/** The minutes of a run, which one answer of CloudWatch holds. */
const runMs = 86_400_000
/** A minute counts once it has been over for this long. The counts of two variants may arrive apart, which is no change of their shares. */
const settledMs = 120_000
/** How long the last minutes of a run may still grow. */
const lateMs = 300_000

/**
 * The whole minutes whose requests count. They begin after the last change of the endpoint, because an earlier request came by other shares,
 * and anew after a day, when none of the new minutes has counted yet.
 */
export function countedMinutes(changedMs: number, nowMs: number): { sinceMs: number; untilMs: number } {
  const firstMs = Math.ceil(changedMs / minuteMs) * minuteMs
  const runs = Math.max(0, Math.floor((nowMs - settledMs - lateMs - firstMs) / runMs))
  const sinceMs = firstMs + runs * runMs
  const overMs = Math.floor((nowMs - settledMs) / minuteMs) * minuteMs
  return { sinceMs, untilMs: Math.min(overMs, sinceMs + runMs) }
}

const services = {
  sagemaker: { host: 'api.sagemaker', signedAs: 'sagemaker', target: 'SageMaker', json: '1.1' },
  cloudwatch: {
    host: 'monitoring',
    signedAs: 'monitoring',
    target: 'GraniteServiceVersion20100801',
    json: '1.0',
  },
}

const variantSchema = z.object({
  VariantName: z.string(),
  CurrentWeight: z.number(),
  DesiredWeight: z.number().optional(),
  CurrentInstanceCount: z.number().optional(),
  VariantStatus: z.array(z.object({ Status: z.string() })).optional(),
})
const endpointSchema = z.object({
  EndpointStatus: z.string(),
  /** Seconds since 1970. */
  LastModifiedTime: z.number(),
  ProductionVariants: z.array(variantSchema),
})
const metricSchema = z.object({
  MetricDataResults: z.array(
    z.object({ Id: z.string(), Values: z.array(z.number()), StatusCode: z.string() }),
  ),
  NextToken: z.string().optional(),
})
const errorSchema = z.object({
  __type: z.string().optional(),
  message: z.string().optional(),
  Message: z.string().optional(),
})

type Described = z.output<typeof endpointSchema>

/** The states in which an endpoint answers requests. */
const serving = new Set(['InService', 'Updating', 'SystemUpdating', 'RollingBack'])
const unready = new Set(['Creating', 'Deleting'])
const metrics = ['Invocations', 'Invocation5XXErrors']

export function openSagemaker(
  { region, endpoint, secret, addresses }: SagemakerTraffic,
  ask: ReturnType<typeof createEndpointClient>['ask'],
  now: () => number = Date.now,
): Gateway {
  const call = async <Schema extends z.ZodType>(
    service: keyof typeof services,
    operation: string,
    { input, schema }: { input: object; schema: Schema },
  ): Promise<z.output<Schema>> => {
    const { host, signedAs, target, json } = services[service]
    const suffix = region.startsWith('cn-') ? '.cn' : ''
    const { status, body } = await ask({
      address: addresses?.[service] ?? `https://${host}.${region}.amazonaws.com${suffix}/`,
      headers: { 'content-type': `application/x-amz-json-${json}`, 'x-amz-target': `${target}.${operation}` },
      body: JSON.stringify(input),
      secret,
      signedFor: { service: signedAs, region },
      readsErrors: true,
      maxBytes,
      maxMs: answerMs,
    })
    const action = `${service}:${operation}`
    let answer: unknown
    try {
      answer = JSON.parse(Buffer.from(body).toString('utf8'))
    } catch {
      throw new Error(`${action} answers ${status} without JSON`)
    }
    if (status !== 200) throw new Error(failureOf(action, { status, secret, answer }))
    const read = schema.safeParse(answer)
    if (!read.success)
      throw new Error(`the answer of ${action} cannot be used: ${z.prettifyError(read.error)}`)
    return read.data
  }

  const describe = () =>
    call('sagemaker', 'DescribeEndpoint', { input: { EndpointName: endpoint }, schema: endpointSchema })

  const count = async (
    variants: Described['ProductionVariants'],
    { sinceMs, untilMs }: ReturnType<typeof countedMinutes>,
  ) => {
    const sums = new Map<string, number>()
    if (untilMs <= sinceMs) return sums
    const asked = variants.flatMap(({ VariantName }) => metrics.map((metric) => ({ VariantName, metric })))
    const input = {
      StartTime: sinceMs / 1_000,
      EndTime: untilMs / 1_000,
      MetricDataQueries: asked.map(({ VariantName, metric }, at) => ({
        Id: `m${at}`,
        MetricStat: {
          Metric: {
            Namespace: 'AWS/SageMaker',
            MetricName: metric,
            Dimensions: [
              { Name: 'EndpointName', Value: endpoint },
              { Name: 'VariantName', Value: VariantName },
            ],
          },
          Period: minuteMs / 1_000,
          Stat: 'Sum',
        },
      })),
    }
    let page: z.output<typeof metricSchema> | undefined
    do {
      page = await call('cloudwatch', 'GetMetricData', {
        input: { ...input, NextToken: page?.NextToken },
        schema: metricSchema,
      })
      for (const { Id, Values, StatusCode } of page.MetricDataResults) {
        if (StatusCode !== 'Complete' && page.NextToken === undefined)
          throw new Error(`cloudwatch:GetMetricData has no complete counts (${StatusCode})`)
        const { VariantName, metric } = asked[Number(Id.slice(1))]!
        const name = `${VariantName} ${metric}`
        sums.set(
          name,
          Values.reduce((sum, value) => sum + value, sums.get(name) ?? 0),
        )
      }
    } while (page.NextToken !== undefined)
    return sums
  }

  const described = remember<Described>(describedMs)
  const counted = remember<Map<string, number>>(countedMs)
  /** Rises with each order, after which no earlier description counts. */
  let orders = 0
  const look = () => described(`${orders}`, describe)

  const serversOf = async ({ EndpointStatus, LastModifiedTime, ProductionVariants }: Described) => {
    const minutes = countedMinutes(LastModifiedTime * 1_000, now())
    let unread: string | undefined
    // Without counts, a rollback can still be set.
    const sums = await counted(`${minutes.sinceMs}`, () => count(ProductionVariants, minutes)).catch(
      (error: unknown) => {
        unread = reasonOf(error)
        return new Map<string, number>()
      },
    )
    return ProductionVariants.map(
      ({
        VariantName,
        CurrentWeight,
        DesiredWeight = CurrentWeight,
        CurrentInstanceCount,
        VariantStatus = [],
      }): GatewayServer => {
        const requests = sums.get(`${VariantName} Invocations`) ?? 0
        return {
          name: versionOfVariant(VariantName),
          weight: CurrentWeight,
          lag:
            DesiredWeight !== CurrentWeight
              ? `the weight of ${VariantName} is ${CurrentWeight}, and ${DesiredWeight} was ordered of SageMaker`
              : EndpointStatus === 'InService'
                ? undefined
                : `the endpoint ${endpoint} is ${EndpointStatus}`,
          isUp:
            serving.has(EndpointStatus) &&
            CurrentInstanceCount !== 0 &&
            !VariantStatus.some(({ Status }) => unready.has(Status)),
          lease: 'absent',
          sinceMs: minutes.sinceMs,
          attempts: requests,
          requests,
          failures: sums.get(`${VariantName} Invocation5XXErrors`) ?? 0,
          unread,
        }
      },
    )
  }
  return {
    read: async () => serversOf(await look()),
    async set({ weights }, servers) {
      const wanted = new Map(servers.map(({ name }) => [variantOf(name), weights[name] ?? 0]))
      const found = await look()
      const isInForce = found.ProductionVariants.every(
        ({ VariantName: name, CurrentWeight: weight, DesiredWeight: next = weight }) =>
          !wanted.has(name) || (weight === wanted.get(name) && next === weight),
      )
      if (isInForce) return serversOf(found)
      // It may still have the weights from before an order that it carries out now.
      if (found.EndpointStatus !== 'InService')
        throw new Error(
          `the endpoint ${endpoint} is ${found.EndpointStatus}, and SageMaker takes an order only when it is InService: this one is tried again until then`,
        )
      orders++
      await call('sagemaker', 'UpdateEndpointWeightsAndCapacities', {
        input: {
          EndpointName: endpoint,
          DesiredWeightsAndCapacities: Array.from(wanted, ([VariantName, DesiredWeight]) => ({
            VariantName,
            DesiredWeight,
          })),
        },
        schema: z.object({}),
      })
      orders++
      return serversOf(await look())
    },
  }
}

/** Reads at most once in this time, also where that fails, and anew for another key. */
function remember<T>(forMs: number) {
  let last: { key: string; atMs: number; value: Promise<T> } | undefined
  return (key: string, read: () => Promise<T>): Promise<T> => {
    const nowMs = performance.now()
    if (last?.key !== key || nowMs - last.atMs > forMs) last = { key, atMs: nowMs, value: read() }
    return last.value
  }
}

const maxReason = 300

function failureOf(
  action: string,
  { status, secret, answer }: { status: number; secret: string; answer: unknown },
): string {
  const { __type = '', message, Message = message } = errorSchema.safeParse(answer).data ?? {}
  const kind = __type.replace(/^.*#/, '') || `the status ${status}`
  if (kind.startsWith('AccessDenied'))
    return `the key of the secret ${secret} may not ${action}: allow it in the policy of its user`
  if (/Token|Signature|UnrecognizedClient/.test(kind))
    return `AWS does not accept the key of the secret ${secret} for ${action} (${kind}): renew the key, or set the clock of this machine`
  if (/Throttl|TooManyRequests/.test(kind) || status === 429)
    return `AWS limits the requests of this account: ${action} is tried again (${kind})`
  if (status >= 500) return `AWS fails: ${action} is tried again (${kind})`
  return `${action} fails with ${kind}: ${Message ?? 'no reason is given'}`.slice(0, maxReason)
}
