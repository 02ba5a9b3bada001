"""The methods under study: losses, class weights, samplers, controllers, schedules, optimisers."""
