/** Reads the file of streams. Reports all its errors at once, when the process starts. */
import { readFile } from 'node:fs/promises'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { DomainError, reasonOf } from '../../domain/errors.ts'
import { issueText, textOfIssues } from '../../store/schema-issues.ts'

// Reads the TLS certificates for the connection to a message broker.

const file = z.string().min(1)

/** `true` trusts the certificate authorities of the system. Paths are relative to the file of streams. */
const brokerTls = z.union(
  [
    z.boolean(),
    z
      .strictObject({ ca: file.optional(), cert: file.optional(), key: file.optional() })
      .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
        error: 'has cert and key together, or neither',
      }),
  ],
  { error: 'is true, or an object with ca, cert and key' },
)

export interface BrokerCertificates {
  /** The trusted authorities, instead of those of the system. */
  ca?: string
  /** The client certificate that identifies this process to the broker. */
  cert?: string
  key?: string
}

/** Reads the files; undefined for a connection without TLS. Throws for files that cannot be read or do not belong together. */
function readBrokerTls(tls: z.infer<typeof brokerTls>, streamsFile: string): BrokerCertificates | undefined {
  if (tls === false) return undefined
  if (tls === true) return {}
  const read = (name: keyof BrokerCertificates, check: (pem: string) => unknown) => {
    const path = tls[name]
    if (path === undefined) return {}
    try {
      const pem = readFileSync(resolve(dirname(streamsFile), path), 'utf8')
      check(pem)
      return { [name]: pem }
    } catch (error) {
      throw new Error(`tls.${name}: ${path}: ${(error as Error).message}`, { cause: error })
    }
  }
  const certificates: BrokerCertificates = {
    ...read('ca', (pem) => new X509Certificate(pem)),
    ...read('cert', (pem) => new X509Certificate(pem)),
    ...read('key', (pem) => createPrivateKey(pem)),
  }
  const { cert, key } = certificates
  if (cert !== undefined && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(key!)))
    throw new Error(`tls.key: the key in ${tls.key} does not belong to the first certificate in ${tls.cert}`)
  return certificates
}

const topic = z.string().regex(/^[\w.-]{1,200}$/, { error: 'is a name of letters, digits, dots, _ and -' })
const server = z.string().regex(/^[\w.-]+:\d{1,5}$/, { error: 'is a host and a port, such as kafka-1:9092' })

const kafka = z.strictObject({
  brokers: z.array(server).min(1),
  tls: brokerTls.default(false),
  sasl: z
    .strictObject({
      mechanism: z.enum(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512']),
      username: z.string().min(1),
      password: z.string().min(1),
    })
    .optional(),
  /** The milliseconds until the partitions of a killed process are reassigned. */
  sessionMs: z.int().min(500).max(300_000).default(10_000),
})

const nats = z.strictObject({
  servers: z.array(server).min(1),
  tls: brokerTls.default(false),
  user: z.string().min(1).optional(),
  password: z.string().min(1).optional(),
  token: z.string().min(1).optional(),
  /** The milliseconds until the unacknowledged records of a killed process are delivered to another. */
  sessionMs: z.int().min(500).max(300_000).default(10_000),
})

const key = z.string().regex(/^tnr_/, { error: 'is an API key, as `tenure keys create` shows it' })

const consumed = {
  /** The topic that is read. */
  from: topic,
  /** The dead-letter topic. Default: the name of `from` followed by `.dead`. */
  dead: topic.optional(),
  /** The consumer group that shares the records. */
  group: topic.optional(),
  /** The API key with which the records are answered or stored. Default: the key of the file. */
  key: key.optional(),
}

const predictions = z.strictObject({
  model: topic,
  ...consumed,
  /** The topic of the answers. */
  to: topic,
})

const stored = z.strictObject(consumed)

const settings = z
  .strictObject({
    kafka: kafka.optional(),
    nats: nats.optional(),
    /** The API key of streams without their own. */
    key: key.optional(),
    predictions: z.array(predictions).default([]),
    outcomes: z.array(stored).default([]),
    events: z.array(stored).default([]),
    /** The topics of outgoing events: the whole audit log, only its release actions, alerts, and the prediction log. */
    out: z
      .strictObject({
        audit: topic.optional(),
        releases: topic.optional(),
        alerts: topic.optional(),
        predictions: topic.optional(),
      })
      .default({}),
  })
  .superRefine((file, context) => {
    if ((file.kafka === undefined) === (file.nats === undefined))
      context.addIssue({ code: 'custom', message: 'has either kafka or nats' })
    for (const kind of ['predictions', 'outcomes', 'events'] as const)
      for (const [place, stream] of file[kind].entries()) {
        const add = (field: string, message: string): void =>
          context.addIssue({ code: 'custom', path: [kind, place, field], message })
        if ((stream.key ?? file.key) === undefined) add('key', 'is missing, and the file has none')
        // The stream would read what it sends, and send it again, without an end.
        for (const field of ['dead', 'to'] as const)
          if ((stream as Partial<PredictionStream>)[field] === stream.from)
            add(field, 'is the topic that is read: name another one')
      }
  })

/** The broker's settings with the contents of the certificate files. Without `tls`, the connection is not encrypted. */
type Connected<Broker> = Omit<Broker, 'tls'> & { tls?: BrokerCertificates }
export type KafkaSettings = Connected<z.infer<typeof kafka>>
export type NatsSettings = Connected<z.infer<typeof nats>>
export type PredictionStream = z.infer<typeof predictions>
/** A topic of outcomes or of events. */
export type StoredStream = z.infer<typeof stored>
export interface StreamSettings extends Omit<z.infer<typeof settings>, 'kafka' | 'nats'> {
  kafka?: KafkaSettings
  nats?: NatsSettings
}

/** Reads and validates the file. Throws `configuration_invalid`. */
export async function readStreamSettings(path: string): Promise<StreamSettings> {
  const invalid = (what: string) =>
    new DomainError('configuration_invalid', `TENURE_STREAMS: ${path}: ${what}`)
  let given: unknown
  try {
    given = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    // The message of a syntax error quotes the file, which contains keys.
    throw invalid(error instanceof SyntaxError ? 'is not JSON' : reasonOf(error))
  }
  const { data, error } = settings.safeParse(given, { error: issueText })
  if (data === undefined) throw invalid(textOfIssues(error))
  const streams = [...data.predictions, ...data.outcomes, ...data.events]
  const names = streams.map(({ from, group }) => `${from} ${group ?? ''}`)
  const twice = names.find((name, place) => names.indexOf(name) !== place)
  if (twice !== undefined) throw invalid(`${twice.trim()} is read by two streams; give each a group`)
  const connected = <Broker extends { tls: z.infer<typeof brokerTls> }>({ tls, ...broker }: Broker) => {
    try {
      const certificates = readBrokerTls(tls, path)
      return { ...broker, ...(certificates !== undefined && { tls: certificates }) }
    } catch (error) {
      throw invalid(reasonOf(error))
    }
  }
  const { kafka: ofKafka, nats: ofNats, ...rest } = data
  return {
    ...rest,
    ...(ofKafka !== undefined && { kafka: connected(ofKafka) }),
    ...(ofNats !== undefined && { nats: connected(ofNats) }),
  }
}
