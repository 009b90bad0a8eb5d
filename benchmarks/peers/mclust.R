# Time EM iterations of R's mclust from a given start: `Rscript mclust.R FOLDER`, written and read by benchmarks/em.py.
# FOLDER holds sizes.txt (N D K iterations rounds model) and x, weights, means, covariances as raw doubles, features
# running fastest. Prints the version, CPU seconds per iteration (smallest of the rounds) and the log-likelihood.
suppressMessages(library(mclust))
folder <- commandArgs(trailingOnly = TRUE)[1]
sizes <- scan(file.path(folder, "sizes.txt"), what = "", quiet = TRUE)
n <- as.integer(sizes[1]); d <- as.integer(sizes[2]); k <- as.integer(sizes[3])
iterations <- as.integer(sizes[4]); rounds <- as.integer(sizes[5]); structure <- sizes[6]
read <- function(name, count) readBin(file.path(folder, name), "double", count)
x <- matrix(read("x", n * d), n, d, byrow = TRUE)
weights <- read("weights", k)
means <- matrix(read("means", k * d), d, k)
covariances <- array(read("covariances", k * d * d), c(d, d, k))
if (d == 1) {
  model <- "V"
  x <- as.vector(x)
  variance <- list(modelName = model, d = 1, G = k, sigmasq = as.vector(covariances))
  means <- as.vector(means)
} else if (structure == "full") {
  model <- "VVV"
  factors <- array(apply(covariances, 3, chol), c(d, d, k))
  variance <- list(modelName = model, d = d, G = k, sigma = covariances, cholsigma = factors)
} else {
  model <- "VVI"
  variances <- apply(covariances, 3, diag)
  scale <- apply(variances, 2, function(v) prod(v)^(1 / d))
  variance <- list(modelName = model, d = d, G = k, scale = scale, shape = sweep(variances, 2, scale, "/"))
}
parameters <- list(pro = weights, mean = means, variance = variance)
control <- emControl(tol = c(0, 0), itmax = c(iterations, iterations))
seconds <- replicate(rounds, {
  spent <- system.time(fit <<- suppressWarnings(em(data = x, modelName = model, parameters = parameters, control = control)))
  sum(spent[1:2])
})
cat(as.character(packageVersion("mclust")), min(seconds) / iterations, format(fit$loglik, digits = 16), "\n")
