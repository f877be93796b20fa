require 'sinatra'

get('/') { 'zoo' }
