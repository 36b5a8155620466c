/** Runs a grpc-js server that reads each message and responds with bytes of the size of a prediction: the cost of the library itself. */
import { Server, ServerCredentials } from '@grpc/grpc-js'

const answer = Buffer.alloc(Number(process.argv[2]))
const same = (/** @type {Buffer} */ bytes) => bytes
const method = {
  path: '/inference.GRPCInferenceService/ModelInfer',
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
}
const server = new Server({ 'grpc.enable_channelz': 0 })
server.addService(
  { ModelInfer: method },
  { ModelInfer: (/** @type {unknown} */ _call, /** @type {Function} */ reply) => reply(null, answer) },
)
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  process.stdout.write(`${port}\n`)
})
