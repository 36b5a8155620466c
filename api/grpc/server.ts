/**
 * Serves the Open Inference Protocol over gRPC (`inference.GRPCInferenceService`). Predictions pass the same keys, limits, queue, arms,
 * counters and log as over HTTP. Loaded only where gRPC is configured.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { Http2Session, Http2Stream } from 'node:http2'
import {
  type Metadata,
  Server,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type UntypedHandleCall,
  experimental,
  ServerCredentials,
} from '@grpc/grpc-js'
import { DomainError } from '../../domain/errors.ts'
import type { CertificateWatch, ServerCertificate } from '../../store/tls/certificate.ts'
import { traceparentHeader, tracestateHeader } from '../../domain/tracing/trace-context.ts'
import { canAccessModel, requireRole, type Actor } from '../auth/authentication.ts'
import type { ApiDeps } from '../deps.ts'
import { requestIdFrom } from '../http/problem.ts'
import { predictBytes, predictors } from '../http/route.ts'
import { findArm, metadataOf } from '../inference/metadata.ts'
import { repositoryOf } from '../inference/repository.ts'
import { whyNotReady } from '../routes/health.ts'
import { liveOf } from '../serving/request/choose-arm.ts'
import type { SharedExchange } from '../transport/exchange.ts'
import type { PredictEndpoint } from '../transport/predict-endpoint.ts'
import { idempotencyHeader, requestIdHeader, deadlineHeader } from '../../domain/request-headers.ts'
import { createAdmission, type Admission } from './admission.ts'
import { createGrpcProtocol } from './infer-protocol.ts'
import { peekModel } from './infer-request.ts'
import { failureOf, headerOf, metadataWith, refusalOf, type Failure } from './status.ts'
import {
  protoMessage,
  nextTag,
  protoNumber,
  openMessage,
  protoPacked,
  readVarint,
  skipField,
  protoText,
} from './wire.ts'

export interface GrpcServer {
  port: number
  /** Finishes the open calls, within `drainMs` milliseconds. */
  stop(drainMs: number): Promise<void>
}

export interface GrpcOptions {
  host: string
  port: number
  predict: PredictEndpoint
  /** The time limit of a message, in milliseconds. */
  withinMs?: number
}

type GrpcDeps = Pick<ApiDeps, 'authentication' | 'bodies' | 'serving' | 'stopping' | 'log'> & {
  /** Absent for connections without TLS. */
  certificate?: CertificateWatch
}
type Unary = ServerUnaryCall<Buffer, Buffer>
type Stream = ServerDuplexStream<Buffer, Buffer>

const maxStreams = 1_024

/** Opens the server. Throws `configuration_invalid` when the port cannot be used. */
export async function openGrpc(deps: GrpcDeps, options: GrpcOptions): Promise<GrpcServer> {
  const { predict, withinMs } = options
  const { interceptor, take } = createAdmission(deps, {
    keyless: new Set(keylessMethods.map(pathOf)),
    onRefusal(path, { status, code }) {
      if (path.endsWith('Infer')) predict.countRefusal({ protocol: 'grpc', model: '' }, status, code)
    },
    withinMs,
  })
  const server = new Server({
    'grpc.max_receive_message_length': predictBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': maxStreams,
    // Nothing reads these counters; Tenure's own metrics count the calls.
    'grpc.enable_channelz': 0,
    interceptors: [interceptor],
  })
  widenConnections()
  const handlers = handlersOf({ ...deps, take }, predict)
  server.addService(serviceOf(Object.keys(handlers)), handlers)
  const { host } = options
  const address = `${host.includes(':') ? `[${host}]` : host}:${options.port}`
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentialsOf(deps.certificate), (error, bound) => {
      if (error === null) resolve(bound)
      else
        reject(
          new DomainError(
            'configuration_invalid',
            `TENURE_GRPC_PORT: ${address} cannot be used: ${error.message}`,
          ),
        )
    })
  })
  return {
    port,
    stop: (drainMs) =>
      new Promise((resolve) => {
        const late = setTimeout(() => server.forceShutdown(), drainMs)
        server.tryShutdown(() => {
          clearTimeout(late)
          resolve()
        })
      }),
  }
}

const pathOf = (name: string): string => `/inference.GRPCInferenceService/${name}`

/** The methods that need no key; the key of every other is checked before its message is read. */
export const keylessMethods = ['ServerLive', 'ServerReady', 'ServerMetadata']

/** Describes the service with messages as bytes, because they are read and written by hand. */
function serviceOf(names: readonly string[]): ServiceDefinition {
  const same = (bytes: Buffer): Buffer => bytes
  return Object.fromEntries(
    names.map((name) => {
      const isStream = name === 'ModelStreamInfer'
      const method = {
        path: pathOf(name),
        requestStream: isStream,
        responseStream: isStream,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      }
      return [name, method]
    }),
  )
}

type HandlerDeps = Pick<GrpcDeps, 'authentication' | 'serving' | 'stopping' | 'log'> & {
  take: Admission['take']
}

/** Returns the handlers of all methods by their names. */
export function handlersOf(deps: HandlerDeps, predict: PredictEndpoint): Record<string, UntypedHandleCall> {
  const { authentication, take, serving } = deps
  const callerOf = ({ metadata }: Unary): Actor =>
    take(metadata) ?? authentication.callerOf(headerOf(metadata, 'authorization'))
  const asking = { predict, take, log: deps.log, maxInstances: serving.maxInstances }
  const named = (call: Unary): { model: string; version: string | undefined } => {
    const target = peekModel(call.request)
    requireRole(callerOf(call), predictors, target.model)
    return target
  }
  /** Handles a unary call that is not a prediction. */
  const plain =
    (answer: (call: Unary) => Buffer) =>
    (call: Unary, reply: sendUnaryData<Buffer>): void => {
      const id = requestIdFrom(headerOf(call.metadata, requestIdHeader))
      try {
        reply(null, answer(call), metadataWith(id))
      } catch (error) {
        reply(refusalOf(error, call.metadata, deps.log))
      }
    }
  return {
    ServerLive: plain(() => protoNumber(1, 1)),
    ServerReady: plain(() => protoNumber(1, whyNotReady(deps).length === 0 ? 1 : 0)),
    ModelReady: plain((call) => {
      const { model, version } = named(call)
      liveOf(serving.routing, model)
      const { predictor } = findArm(serving, model, version).loaded
      return protoNumber(1, predictor.trouble?.() === undefined ? 1 : 0)
    }),
    ServerMetadata: plain(() =>
      Buffer.concat([protoText(1, 'tenure'), protoText(2, '2'), protoText(3, 'binary_tensor_data')]),
    ),
    ModelMetadata: plain((call) => {
      const { model, version } = named(call)
      const { name, versions, platform, inputs, outputs } = metadataOf(serving, model, version)
      const tensor = (field: number) => (each: { name: string; datatype: string; shape: number[] }) =>
        protoMessage(field, protoText(1, each.name), protoText(2, each.datatype), protoPacked(3, each.shape))
      return Buffer.concat([
        protoText(1, name),
        ...versions.map((each) => protoText(2, each)),
        protoText(3, platform),
        ...inputs.map(tensor(4)),
        ...outputs.map(tensor(5)),
      ])
    }),
    RepositoryIndex: plain((call) => {
      const actor = callerOf(call)
      requireRole(actor, predictors)
      const isReadyOnly = isSet(call.request, 2)
      return Buffer.concat(
        repositoryOf(serving, (model) => canAccessModel(actor, model))
          .filter(({ state }) => !isReadyOnly || state === 'READY')
          .map(({ name, version, state, reason }) =>
            protoMessage(
              1,
              protoText(1, name),
              protoText(2, version),
              protoText(3, state),
              protoText(4, reason),
            ),
          ),
      )
    }),
    ModelInfer: (call: Unary, reply: sendUnaryData<Buffer>) =>
      ask(asking, call, call.request, ({ failure, bytes, metadata }) => {
        if (failure === undefined) reply(null, bytes, metadata)
        else reply({ ...failure, metadata })
      }),
    // Handles requests one after another, so that responses keep their order and a slow reader limits what is written.
    ModelStreamInfer: (call: Stream) => {
      call.on('data', (request: Buffer) => {
        call.pause()
        ask(asking, call, request, ({ failure, bytes }) => {
          const answer = failure === undefined ? protoMessage(2, bytes!) : protoText(1, failure.details)
          if (call.cancelled) return
          if (call.write(answer)) call.resume()
          else call.once('drain', () => call.resume())
        })
      })
      call.on('end', () => call.end())
      call.on('error', () => call.end())
    },
  }
}

interface Outcome {
  failure: Failure | undefined
  bytes: Buffer | undefined
  metadata: Metadata
}

interface AskDeps extends Pick<ApiDeps, 'log'> {
  predict: PredictEndpoint
  take: Admission['take']
  maxInstances: number
}

/** Sends a prediction through the HTTP endpoint. */
function ask(
  { predict, take, log, maxInstances }: AskDeps,
  call: Unary | Stream,
  body: Buffer,
  done: (outcome: Outcome) => void,
): void {
  let target: ReturnType<typeof peekModel>
  try {
    target = peekModel(body)
  } catch (error) {
    const { metadata, code, details } = refusalOf(error, call.metadata, log)
    return done({ failure: { code, details }, bytes: undefined, metadata })
  }
  let onSent: (() => void) | undefined
  const exchange: SharedExchange = {
    path: '/v2',
    actor: take(call.metadata),
    headers: headersOfCall(call),
    caller: {
      once: (_event, listener) => call.once('cancelled', listener),
      off: (_event, listener) => call.off('cancelled', listener),
    },
    headerOf: (name) => call.metadata.get(name).join(', ') || undefined,
    get closed() {
      return call.cancelled
    },
    shouldKeepAlive: false,
    onSent: (listener) => void (onSent = listener),
    sendBytes(bytes, requestId) {
      done({ failure: undefined, bytes, metadata: metadataWith(requestId) })
      onSent?.()
    },
    send(status, headers, text, requestId) {
      const sent = (name: string): string | undefined =>
        headers.find((_value, at) => at % 2 === 1 && headers[at - 1] === name)
      const metadata = metadataWith(requestId ?? sent(requestIdHeader) ?? '', sent('retry-after'))
      const { error, code } = JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as Record<
        string,
        string
      >
      done({ failure: failureOf(status, error ?? '', code ?? ''), bytes: undefined, metadata })
      onSent?.()
    },
  }
  predict.accept({ protocol: 'grpc', ...target, messages: createGrpcProtocol(maxInstances) }, exchange, body)
}

/** Returns the headers that a prediction depends on. The deadline of the call counts like `x-deadline-ms`. */
function headersOfCall(call: Unary | Stream): SharedExchange['headers'] {
  // Values are texts, except for names that end in "-bin". Reads all at once, because each look-up validates the name.
  const all = call.metadata.getMap() as Record<string, string | undefined>
  const leftMs = Number(call.getDeadline()) - Date.now()
  return {
    authorization: all['authorization'],
    [idempotencyHeader]: all[idempotencyHeader],
    [requestIdHeader]: all[requestIdHeader],
    [traceparentHeader]: all[traceparentHeader],
    [tracestateHeader]: all[tracestateHeader],
    [deadlineHeader]: Number.isFinite(leftMs) ? String(Math.max(leftMs, 0.001)) : undefined,
  } as SharedExchange['headers']
}

function isSet(bytes: Buffer, field: number): boolean {
  const message = openMessage(bytes)
  let value = 0
  for (let tag = nextTag(message); tag !== 0; tag = nextTag(message)) {
    if (tag === field * 8) value = readVarint(message)
    else skipField(message, tag)
  }
  return value !== 0
}

// Raises the bytes that a client may send on a gRPC connection before they are read. grpc-js has no server option for it.

/**
 * The HTTP/2 default of 65,535 bytes makes a client wait that sends six requests of a hundred rows at once. The limit per stream keeps the
 * default.
 */
const windowBytes = 1_048_576

const widened = new WeakSet<Http2Session>()

/** Widens the window of each connection at its first call, from Node.js 24 on. No other server of the process speaks HTTP/2. */
const widenConnections = (): void =>
  subscribe('http2.server.stream.created', (message) => {
    const { session } = (message as { stream: Http2Stream }).stream
    if (session === undefined || session.destroyed || widened.has(session)) return
    widened.add(session)
    session.setLocalWindowSize(windowBytes)
  })

// Creates the TLS credentials of the gRPC server from the certificate of the API.

/**
 * Returns credentials that follow a renewed certificate; without TLS, none. Where client certificates are required, the handshake refuses a
 * client without one.
 */
function credentialsOf(certificate: CertificateWatch | undefined): ServerCredentials {
  if (certificate === undefined) return ServerCredentials.createInsecure()
  const follow = (use: (from: ServerCertificate) => void): void => {
    // The server adds its own listener only after this call.
    queueMicrotask(() => use(certificate.current()))
    certificate.subscribe(use)
  }
  const provider: experimental.CertificateProvider = {
    addIdentityCertificateListener: (listener) =>
      follow(({ cert, key }) => listener({ certificate: cert, privateKey: key })),
    addCaCertificateListener: (listener) => follow(({ ca }) => listener(ca ? { caCertificate: ca } : null)),
    // The server keeps its credentials until it ends, so there is nothing to remove.
    removeIdentityCertificateListener: () => {},
    removeCaCertificateListener: () => {},
  }
  const isAsked = certificate.current().ca !== undefined
  return experimental.createCertificateProviderServerCredentials(provider, isAsked ? provider : null, isAsked)
}
