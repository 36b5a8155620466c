/** Runs a Kafka broker of one node for tests and measurements, from the jars of Maven's repository, kept in the cache of this machine. */
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { requireNewNode } from '../../../api/streams/node-version.ts'
import { freePort } from '@tenure/embedded'
import { cacheDir } from '../../../temporal.config.ts'
import { waitUntil } from '../serving/api-process.ts'
import { testTls, type TestTls } from './broker-certificates.ts'

const version = '4.1.0'
/** Digest of the names and contents of all jars. */
const digest = '67e31019c093984c701abea3fc5397f6784b22a80a960f63cf9d6869cae551d4'

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tenure</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${version}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>`

const jars = join(cacheDir(), `kafka-${version}`)

function works(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Fetches the broker when it is not in the cache. Returns why no broker can start on this machine; undefined when one can. */
export function whyNoKafka(): string | undefined {
  try {
    requireNewNode(process.versions.node)
  } catch {
    return 'the client needs a later Node.js'
  }
  if (!works('java', '-version')) return 'java is missing'
  if (existsSync(jars)) return undefined
  if (!works('mvn', '-version')) return 'mvn is missing, and the jars of Kafka are not in the cache'
  try {
    fetchJars()
    return undefined
  } catch (error) {
    // A wrong digest is an error, not a reason to skip.
    if (error instanceof Error && 'status' in error) return 'Maven cannot fetch the jars of Kafka'
    throw error
  }
}

function digestOf(directory: string): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(directory).sort())
    hash.update(`${name}\n`).update(
      createHash('sha256')
        .update(readFileSync(join(directory, name)))
        .digest(),
    )
  return hash.digest('hex')
}

/** Fetches the jars once per machine. Maven prints its progress. */
function fetchJars(): void {
  if (existsSync(jars)) return
  mkdirSync(cacheDir(), { recursive: true })
  const draft = mkdtempSync(join(cacheDir(), 'partial-kafka-'))
  process.stderr.write(`Fetching Kafka ${version} for tests of streams (43 MB, once) …\n`)
  try {
    writeFileSync(join(draft, 'pom.xml'), pom)
    const goal = ['dependency:copy-dependencies', '-DoutputDirectory=lib', '-DincludeScope=runtime']
    execFileSync('mvn', ['-B', '-ntp', ...goal], { cwd: draft, stdio: ['ignore', 2, 2] })
    const found = digestOf(join(draft, 'lib'))
    if (found !== digest)
      throw new Error(`the jars of Kafka ${version} have the digest ${found}, not ${digest}`)
    renameSync(join(draft, 'lib'), jars)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

export interface KafkaBroker {
  /** Host and port of the plain listener. */
  address: string
  /** Address of the listener with SASL PLAIN, for the user `tenure` with the password `secret`. */
  saslAddress: string
  /** Addresses of the listener that requires a client certificate, and of the listener with TLS and SASL PLAIN. */
  tlsAddress: string
  saslTlsAddress: string
  tls: TestTls
  pid(): number
  kill(): Promise<void>
  /** Starts a killed broker on the same data and ports. */
  start(): Promise<void>
  /** Kills the broker and starts it again on the same data and ports. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function startKafka(): Promise<KafkaBroker> {
  fetchJars()
  const home = mkdtempSync(join(tmpdir(), 'tenure-kafka-'))
  const [plain = 0, sasl = 0, tls = 0, saslTls = 0, controller = 0] = await Promise.all(
    Array.from({ length: 5 }, freePort),
  )
  const certificates = testTls(home)
  const properties = join(home, 'server.properties')
  writeFileSync(properties, propertiesOf(home, { plain, sasl, tls, saslTls, controller }))
  const java = (memory: string, ...args: string[]) => [
    '-cp',
    `${jars}/*`,
    memory,
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    ...args,
  ]
  const format = ['format', '-t', 'MkU3OEVBNTcwNTJENDM2Qk', '-c', properties]
  await promisify(execFile)('java', java('-Xmx128m', 'kafka.tools.StorageTool', ...format))
  let broker: ChildProcess | undefined
  let exited: Promise<unknown> | undefined
  const start = async (): Promise<void> => {
    broker = spawn('java', java('-Xmx384m', 'kafka.Kafka', properties), { stdio: 'ignore' })
    exited = once(broker, 'exit')
    await waitUntil(() => listens(plain), 'the Kafka broker')
  }
  const end = async (): Promise<void> => {
    broker!.kill('SIGKILL')
    await exited
  }
  await start()
  return {
    address: `127.0.0.1:${plain}`,
    saslAddress: `127.0.0.1:${sasl}`,
    tlsAddress: `127.0.0.1:${tls}`,
    saslTlsAddress: `127.0.0.1:${saslTls}`,
    tls: certificates,
    pid: () => broker!.pid!,
    kill: end,
    start,
    async restart() {
      await end()
      await start()
    },
    async stop() {
      await end()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

interface BrokerPorts {
  plain: number
  sasl: number
  tls: number
  saslTls: number
  controller: number
}

const login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_tenure="secret";'

const propertiesOf = (home: string, ports: BrokerPorts): string =>
  Object.entries({
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map':
      'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL',
    listeners: [
      `PLAINTEXT://127.0.0.1:${ports.plain}`,
      `SASL_PLAINTEXT://127.0.0.1:${ports.sasl}`,
      `SSL://127.0.0.1:${ports.tls}`,
      `SASL_SSL://127.0.0.1:${ports.saslTls}`,
      `CONTROLLER://127.0.0.1:${ports.controller}`,
    ].join(','),
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': join(home, 'broker.both.pem'),
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': join(home, 'ca.pem'),
    'listener.name.ssl.ssl.client.auth': 'required',
    'sasl.enabled.mechanisms': 'PLAIN',
    'listener.name.sasl_plaintext.plain.sasl.jaas.config': login,
    'listener.name.sasl_ssl.plain.sasl.jaas.config': login,
    'log.dirs': join(home, 'data'),
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 4,
    'transaction.abort.timed.out.transaction.cleanup.interval.ms': 1_000,
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 500,
    'auto.create.topics.enable': false,
  })
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
