/** Computes dense networks of TensorFlow.js where there is neither Node nor WebAssembly: in browsers and in workers of a content network. */
export { activationOf } from './network/activations.ts'
export {
  isDense,
  layersOf,
  networkOf,
  readModel,
  readNetwork,
  type Network,
  type ReadModel,
} from './network/layers-model.ts'
export { compilePredictor } from './network/scalar-predictor.ts'
