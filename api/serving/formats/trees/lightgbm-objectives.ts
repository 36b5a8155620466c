/** Maps LightGBM objectives to the functions that convert sums to predictions. */
import { refuse } from '../../network/layers-model.ts'
import {
  exponential,
  identity,
  logistic,
  signedSquare,
  softmax,
  softplus,
  type LinkFunction,
} from './links.ts'

/** Returns the link function. Throws `artifact_invalid` for an unknown objective, or one with another number of trees per round. */
export function lightgbmLink(objective: string, perIteration: number): LinkFunction {
  const [name = '', ...options] = objective.split(' ')
  const optionOf = (option: string): string | undefined =>
    options.find((each) => each.startsWith(`${option}:`))?.slice(option.length + 1)
  const slope = Number(optionOf('sigmoid') ?? 1)
  if (!(slope > 0 && slope < Infinity)) refuse(`the objective is ${JSON.stringify(objective)}`)
  const isOfClasses = name === 'multiclass' || name === 'multiclassova'
  if (name !== '' && name !== 'custom' && perIteration !== Number(isOfClasses ? optionOf('num_class') : 1))
    refuse(`the objective is ${JSON.stringify(objective)}, and num_tree_per_iteration ${perIteration}`)
  switch (name) {
    case 'binary':
    case 'multiclassova':
      return logistic(slope)
    case 'multiclass':
      return softmax
    // LightGBM 2.2 and older use the shorter names.
    case 'cross_entropy':
    case 'xentropy':
      return logistic()
    case 'cross_entropy_lambda':
    case 'xentlambda':
      return softplus
    case 'poisson':
    case 'gamma':
    case 'tweedie':
      return exponential
    default:
      if (!ownScale.has(name)) refuse(`the objective ${JSON.stringify(name)} is not known`)
      return options.includes('sqrt') ? signedSquare : identity
  }
}

/** Objectives whose sums are the predictions. A model with a custom objective names none, or `custom`. */
const ownScale: ReadonlySet<string> = new Set([
  '',
  'custom',
  'regression',
  'regression_l1',
  'regression_l2',
  'huber',
  'fair',
  'quantile',
  'mape',
  'lambdarank',
  'rank_xendcg',
])
